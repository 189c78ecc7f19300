"""The memory bars of all devices and the RAM tier."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.message import Message

from citadel_tui.viewmodel.dashboard.bars import bar_rows
from citadel_tui.viewmodel.history import TIER
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView

_LEAST_ROWS: Final = 4
_SHARE: Final = 3
"""The bars take at most this part of the screen's height: a third."""


class DeviceBars(SceneView):
    """One row a device, as long as they fit."""

    class Opened(Message):
        """A device's row, or that of the RAM tier, was double-clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        if scene.snapshot is None:
            return ()
        most = max(self.screen.size.height // _SHARE, _LEAST_ROWS)
        return bar_rows(scene.snapshot, width, most, scene.now_s, self.glyphs)

    def on_click(self, event: events.Click) -> None:
        row = self.index_at(event.y)
        name = self.lines[row][0].text.strip() if row < len(self.lines) else ""
        known = self.scene.snapshot.state.devices if self.scene and self.scene.snapshot else {}
        if event.chain == 2 and (name in known or name == TIER):
            self.post_message(self.Opened(name))
