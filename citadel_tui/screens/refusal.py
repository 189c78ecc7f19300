"""A refusal, read and closed."""

from __future__ import annotations

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.refusal_page import refusal_lines
from citadel_tui.widgets.choices import Option
from citadel_tui.words.labels import Label
from citadel_tui.words.plans import refusal_text
from engine.core.commands import Command, command_text
from engine.core.plans import Refusal


class RefusalScreen(Dialog[None]):
    """Says what was needed, what was free, and who was in the way."""

    def __init__(self, refusal: Refusal, glyphs: Glyphs, label: Label) -> None:
        title = f"Can't {command_text(refusal.command)}"
        super().__init__(title, lambda width: refusal_lines(refusal, width, glyphs), (Option("Close", None),), glyphs)
        self._refusal = refusal
        self._label = label

    @property
    def text(self) -> str:
        return refusal_text(self._refusal, self._label)

    @property
    def command(self) -> Command:
        return self._refusal.command
