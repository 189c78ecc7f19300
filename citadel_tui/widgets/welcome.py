"""Three lines for who sees the console for the first time, gone with the first key that does something."""

from __future__ import annotations

from citadel_tui.actions import Registry
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, filled
from citadel_tui.widgets.scene_view import SceneView


class Welcome(SceneView):
    """Shown while nothing has been recorded yet, on an engine that nobody has used."""

    fades = False

    def __init__(self, glyphs: Glyphs, actions: Registry, *, wanted: bool) -> None:
        super().__init__(glyphs)
        self._keys = {action.id: action.key_text for action in actions}
        self._wanted = wanted
        self.display = False
        self.was_shown = False

    def show_scene(self, scene: Scene) -> None:
        self.display = self._wanted and scene.snapshot is not None and not scene.records
        self.was_shown = self.was_shown or self.display
        super().show_scene(scene)

    def end(self) -> None:
        """From now on it is in the way."""
        self._wanted = self.display = False

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        keys = self._keys
        lines = (
            f"up and down choose a model; {keys['load']} loads it, as a request does",
            f"{keys['details']} shows all about it; {keys['palette']} finds all that can be done",
            f"{keys['help']} explains keys and colours; {keys['quit']} leaves, and the models stay",
        )
        return tuple(filled((Span(f" {line}", "strong"),), width, self.glyphs.ellipsis) for line in lines)
