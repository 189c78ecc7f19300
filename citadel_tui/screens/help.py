"""The help page: keys and marks."""

from __future__ import annotations

from citadel_tui.actions import Registry
from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.help import help_lines
from citadel_tui.widgets.choices import Option


class Help(Dialog[None]):
    """Made from the registry of actions, so that it can't be wrong."""

    def __init__(self, actions: Registry, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        super().__init__("Help", lambda width: help_lines(actions, width, glyphs), options, glyphs)
