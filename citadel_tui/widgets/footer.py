"""The keys at the bottom, from the registry of actions."""

from __future__ import annotations

from textual import events
from textual.message import Message

from citadel_tui.actions import Action, Registry
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.help import FooterKey, action_at, footer_keys, footer_line
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView


class FooterKeys(SceneView):
    """One row of keys, which can be clicked; verbs that the selected models do not allow are in brackets."""

    fades = False

    class Clicked(Message):
        """A key was clicked."""

        def __init__(self, action: Action) -> None:
            super().__init__()
            self.action = action

    def __init__(self, glyphs: Glyphs, actions: Registry) -> None:
        super().__init__(glyphs)
        self._actions = actions
        self._models: Models = ()
        self._keys: list[FooterKey] = []

    def select(self, models: Models) -> None:
        """The verbs are for `models` from now on."""
        if models != self._models:
            self._models = models
            self.paint()

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        self._keys = footer_keys([(a, a.why_not(scene, self._models)) for a in self._actions], width)
        return (footer_line(self._keys, width, self.glyphs),)

    def on_click(self, event: events.Click) -> None:
        action = action_at(self._keys, event.x)
        if action is not None:
            self.post_message(self.Clicked(action))
