"""The keys at the bottom, from the registry of actions."""

from __future__ import annotations

from citadel_tui.actions import ACTIONS
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.keys import footer_line
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView


class FooterKeys(SceneView):
    """One row of keys; verbs that the selected model does not allow are in brackets."""

    fades = False

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(glyphs, id=id)
        self._model: str | None = None

    def select(self, model: str | None) -> None:
        """The verbs are for `model` from now on."""
        if model != self._model:
            self._model = model
            self.paint()

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        offered = [(action, action.why_not(scene, self._model)) for action in ACTIONS]
        return (footer_line(offered, width, self.glyphs),)
