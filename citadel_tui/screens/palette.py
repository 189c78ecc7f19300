"""The palette: every verb for every model, and each device's page, found by typing parts of the words."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from citadel_tui.actions import BY_ID, VERBS, choices_of
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Span
from citadel_tui.viewmodel.words import command_text
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList
from engine.core.commands import Command
from engine.core.names import DeviceId

Picked: TypeAlias = Command | DeviceId
"""A command to carry out, or the device whose page is to open."""


class Palette(ModalScreen[Picked | None]):
    """Ends with what was picked."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
    ]

    def __init__(self, scene: Scene, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs
        self._offered = _offered(scene)
        self._list: RowList[str] = RowList(glyphs)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -narrow" + (" -ascii" if self._glyphs.plain else "")):
            yield Page(lambda width: [(Span("Verb and model, or device", "title"),)], classes="title")
            search = Input(restrict=r"[A-Za-z0-9._ -]*", compact=True)
            search.cursor_blink = False
            yield search
            yield self._list

    def on_mount(self) -> None:
        self._search("")

    def show_scene(self, scene: Scene) -> None:
        """Stays as it was opened; the engine judges the command when it is submitted."""

    def on_input_changed(self, message: Input.Changed) -> None:
        self._search(message.value)

    def on_input_submitted(self) -> None:
        picked = self._list.cursor
        self.dismiss(None if picked is None else self._offered[picked])

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_move(self, rows: int) -> None:
        self._list.action_move(rows)

    def _search(self, typed: str) -> None:
        words = typed.casefold().split()
        found = [text for text in self._offered if all(word in text.casefold() for word in words)]
        self._list.show_rows((), {text: (Span("  "), Span(text)) for text in found})


def _offered(scene: Scene) -> dict[str, Picked]:
    """What can be done now, by its text."""
    if scene.snapshot is None:
        return {}
    state = scene.snapshot.state
    commands = {
        command_text(choice.command): choice.command
        for model in state.models
        for action in VERBS
        if not action.why_not(scene, model)
        for choice in choices_of(action, scene, model)
    }
    return {**commands, **{f"{BY_ID['device'].verb.casefold()} {device}": device for device in state.devices}}
