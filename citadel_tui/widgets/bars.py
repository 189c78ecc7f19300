"""The memory bars of all devices and the RAM tier, and the graphs of memory and switches over time, where there is room for
them or where the operator wants them."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from textual import events
from textual.geometry import Size
from textual.message import Message

from citadel_tui.settings.settings import ConsoleSettings, Graphs
from citadel_tui.viewmodel.dashboard.bars import bar_rows
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.history import TIER
from citadel_tui.viewmodel.over_time import panel_lines
from citadel_tui.viewmodel.paper import Paper
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

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        if scene.snapshot is None:
            return ()
        most = max(self.screen.size.height // _SHARE, _LEAST_ROWS)
        return bar_rows(scene.snapshot, paper, most, scene.now_s)

    def on_click(self, event: events.Click) -> None:
        row = self.index_at(event.y)
        name = self.lines[row][0].text.strip() if row < len(self.lines) else ""
        known = self.scene.snapshot.state.devices if self.scene and self.scene.snapshot else {}
        if event.chain == 2 and (name in known or name == TIER):
            self.post_message(self.Opened(name))


_FROM_WIDTH: Final = 120
_FROM_HEIGHT: Final = 34
_ROWS: Final = ((48, 6), (34, 3), (0, 2))
"""From how many rows of the screen on a graph has how many."""
_HEAD_ROWS: Final = 2
"""The rule and the titles."""


class OverTime(SceneView):
    """Shown or hidden as a whole."""

    def __init__(self, glyphs: Glyphs, wanted: Graphs) -> None:
        super().__init__(glyphs)
        self._wanted = wanted
        self._screen = Size(0, 0)
        self._rows = 0
        self.display = False

    def as_left(self, settings: ConsoleSettings) -> ConsoleSettings:
        """`settings` with what the operator has chosen here."""
        return replace(settings, graphs=self._wanted)

    def toggle(self) -> None:
        """Hide what is shown, show what is hidden."""
        self._wanted = "off" if self.display else "on"
        self.fit(self._screen)

    def fit(self, screen: Size) -> None:
        """See whether they are wanted, and whether there is room on a screen of this size."""
        self._screen = screen
        self._rows = next(rows for height, rows in _ROWS if screen.height >= height)
        self.styles.height = self._rows + _HEAD_ROWS
        roomy = screen.width >= _FROM_WIDTH and screen.height >= _FROM_HEIGHT
        self.display = self._wanted == "on" or (self._wanted == "auto" and roomy)
        self.paint()

    def work_out(self) -> None:
        if self.display:
            super().work_out()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        return panel_lines(scene, paper, self._rows)
