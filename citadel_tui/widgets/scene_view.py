"""A view of the scene: works its lines out again for each new scene and each new width."""

from __future__ import annotations

from typing import ClassVar

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.lines import LineView


class SceneView(LineView):
    """Shows what `lines_for` makes of the newest scene."""

    fades: ClassVar[bool] = True
    """Whether it is greyed while the scene is stale."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.scene: Scene | None = None

    def show_scene(self, scene: Scene) -> None:
        """Take the newest scene."""
        self.scene = scene
        self.muted = self.fades and scene.stale
        self.paint()

    def work_out(self) -> None:
        if self.scene is not None and self.size.width:
            self.show(self.lines_for(self.scene, Paper(self.size.width, self.glyphs, self.scene.colours)))

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        raise NotImplementedError
