"""What opens over the dashboard, whatever it shows: it ends once, and only when nothing lies over it."""

from __future__ import annotations

from typing import ClassVar, Final, Generic, TypeVar

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.widgets.lines import LINE_CLASSES
from citadel_tui.widgets.too_small import TooSmall

_T = TypeVar("_T")

_PICTURE: Final = Binding("S", "app.picture", show=False, id="picture")
"""Textual keeps the app's own keys from modal screens."""


class Modal(ModalScreen["_T | None"], Generic[_T]):
    """Ends with a result, or with None when the operator backs out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = LINE_CLASSES
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False), _PICTURE]

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._late: list[_T | None] = []
        """What it has ended with while something lay over it."""

    @property
    def look(self) -> str:
        """The class of what frames it."""
        return "dialog" + (" -ascii" if self._glyphs.plain else "")

    def on_mount(self) -> None:
        self.mount(TooSmall(self._glyphs))

    def on_screen_resume(self) -> None:
        if self._late:
            self.dismiss(self._late.pop())

    def show_scene(self, scene: Scene) -> None:
        """Pages that show what goes on follow the scene; the others stay as they were opened, since a list that changes under the
        finger is a trap."""

    def action_leave(self) -> None:
        self.dismiss(None)

    def dismiss(self, result: _T | None = None) -> AwaitComplete:
        """End with `result`.

        Textual would close whatever is on top: after a double click this page and the one below it, and at the end of a benchmark
        the page that was opened over it.
        """
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        self._late[:] = [result]
        return AwaitComplete()
