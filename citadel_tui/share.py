"""What leaves the console: text that is copied, and pictures of the screen. Either way the status line says what and where."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import assert_never

from textual.app import App

from citadel_tui.clipboard import bounded
from citadel_tui.dated_files import told
from citadel_tui.flow import Message
from citadel_tui.link import Link
from citadel_tui.screenshot import save_picture
from citadel_tui.text import clean
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.dashboard.rows import model_rows
from citadel_tui.viewmodel.row_text import row_text
from citadel_tui.words.shell import command_line, placing
from citadel_tui.words.labels import Label, labels
from citadel_tui.words.records import record_text
from engine.api import EngineError
from engine.core.commands import Command
from engine.core.records import Notice, Pinned, Record, Refused, Residency, Switch
from engine.paths import find_paths


class Sharing:
    """Copies what is selected, and takes pictures."""

    def __init__(self, app: App[int], say: Callable[[Message], None], link: Link, glyphs: Glyphs) -> None:
        self._app = app
        self._say = say
        self._link = link
        self._glyphs = glyphs

    @property
    def label(self) -> Label:
        """How models are called in what is copied: those with random weights say so."""
        snapshot = self._link.scene().snapshot
        return labels(snapshot.state) if snapshot else clean

    def copy_selection(self, models: Models, record: Record | None) -> None:
        """The record under the log's cursor, or the models' rows, a line each."""
        rows = [row for row in model_rows(self._link.scene(), self._glyphs) if row.name in models]
        if record is not None:
            self.copy(record_text(record, self.label))
        elif rows:
            self.copy("\n".join(row_text(row) for row in rows))
        else:
            self._say(Message("Copy: no model is selected", "warn"))

    def copy_command(self, models: Models, record: Record | None) -> None:
        """The command of the record, or those that would bring the models to where they are."""
        snapshot = self._link.scene().snapshot
        if record is not None:
            self.copy_line(command_of(record))
        elif snapshot and models:
            self.copy("\n".join(command_line(placing(snapshot.state, model)) for model in models))
        else:
            self._say(Message("Command: no model is selected", "warn"))

    def copy_line(self, command: Command | None) -> None:
        """The shell command that would do the same as `command`."""
        if command is None:
            self._say(Message("Command: there is none that would do this", "warn"))
        else:
            self.copy(command_line(command))

    def copy(self, text: str) -> None:
        """As much of `text` as a terminal takes; all of a short one stands in the status line too."""
        taken = bounded(text)
        self._app.copy_to_clipboard(taken)
        short = "" if taken == text else f" (only the first {len(taken)} of {len(text)} characters)"
        first, *more = taken.splitlines() or [""]
        lines = f" {len(more) + 1} lines" if more else ""
        self._say(Message(f"copied{lines}{short}: {first}", "good"))

    def take_picture(self) -> None:
        """An SVG of what is shown, among the state's screenshots."""
        try:
            folder = find_paths(os.environ).screenshots
            path = save_picture(self._app.export_screenshot(), folder, time.time())
        except EngineError as error:
            self._say(Message(str(error), "bad"))
        else:
            self._say(Message(f"saved {told(path, os.environ.get('HOME'))}", "good"))


def command_of(record: Record) -> Command | None:
    """What somebody asked for when the record was written; None for what nobody asked for."""
    match record.entry:
        case Switch(plan=plan) | Pinned(plan=plan):
            return plan.command
        case Refused(refusal=refusal):
            return refusal.command
        case Notice() | Residency():
            return None
        case _:
            assert_never(record.entry)
