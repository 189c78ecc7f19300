"""The memory bars of all devices and the RAM tier."""

from __future__ import annotations

from citadel_tui.viewmodel.bars import bar_rows
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView


class DeviceBars(SceneView):
    """One row a device."""

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        return bar_rows(scene.snapshot, width, scene.now_s, self.glyphs) if scene.snapshot else ()
