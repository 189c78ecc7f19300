"""What leaves the console: text that is copied, shell commands among it, and pictures of the screen.

Either way the status line says what and where. Text goes onto the clipboard of whoever sits before the terminal, over SSH too:
the terminal is told to put it there (OSC 52).
"""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import join
from typing import Final, assert_never

from textual.app import App

from citadel_tui.dated_files import dated_path, told
from citadel_tui.flow import StatusMessage
from citadel_tui.link import Link
from citadel_tui.text import clean
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.dashboard.rows import model_rows, row_text
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.words.labels import Label, labels
from citadel_tui.words.records import record_text
from engine.api import EngineError
from engine.core.commands import (
    Batch,
    Command,
    Evict,
    ForceCpu,
    LeaveCpu,
    Load,
    Move,
    SetPin,
    Single,
    Unpin,
    singles_of,
)
from engine.core.names import CPU, DeviceId, ModelName, is_cpu
from engine.core.records import Notice, Pinned, Record, Refused, Residency, Switch
from engine.core.state import State
from engine.paths import find_paths

LIMIT_BYTES: Final = 74_994
"""What base64 makes 99,992 bytes of: xterm takes no sequence of more than 100,000."""
_SCREEN_CHUNK: Final = 512
"""GNU screen drops strings of more than 768 bytes."""
_ESC: Final = "\x1b"


class Sharing:
    """Copies what is selected, and takes pictures."""

    def __init__(
        self,
        app: App[int],
        say: Callable[[StatusMessage], None],
        link: Link,
        glyphs: Glyphs,
        program: tuple[str, ...],
    ) -> None:
        """`program`: what is typed before a command."""
        self._app = app
        self._say = say
        self._link = link
        self._glyphs = glyphs
        self._program = program

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
            self._say(StatusMessage("Copy: no model is selected", "warn"))

    def copy_command(self, models: Models, record: Record | None) -> None:
        """The command of the record, or those that would bring the models to where they are."""
        snapshot = self._link.scene().snapshot
        if record is not None:
            self.copy_line(command_of(record))
        elif snapshot and models:
            self.copy("\n".join(command_line(placing(snapshot.state, model), self._program) for model in models))
        else:
            self._say(StatusMessage("Command: no model is selected", "warn"))

    def copy_line(self, command: Command | None, *, now: bool = False) -> None:
        """The shell command that would do the same as `command`, `now` with the end of the runs that are in its way."""
        if command is None:
            self._say(StatusMessage("Command: there is none that would do this", "warn"))
        else:
            self.copy(command_line(command, self._program, now=now))

    def copy(self, text: str) -> None:
        """As much of `text` as a terminal takes; all of a short one stands in the status line too."""
        taken = bounded(text)
        self._app.copy_to_clipboard(taken)
        short = "" if taken == text else f" (only the first {len(taken)} of {len(text)} characters)"
        first, *more = taken.splitlines() or [""]
        lines = f" {len(more) + 1} lines" if more else ""
        self._say(StatusMessage(f"copied{lines}{short}: {first}", "good"))

    def take_picture(self) -> None:
        """An SVG of what is shown, among the state's screenshots."""
        try:
            folder = find_paths(os.environ).screenshots
            path = save_picture(self._app.export_screenshot(), folder, time.time())
        except EngineError as error:
            self._say(StatusMessage(str(error), "bad"))
        else:
            self._say(StatusMessage(f"saved {told(path, os.environ.get('HOME'))}", "good"))


# ── what is copied ────────────────────────────────────────────────────────────────────────────────


def bounded(text: str) -> str:
    """`text`, or as much of its beginning as a terminal takes."""
    # The cut may be within a character, whose beginning is dropped with "ignore".
    return text.encode("utf-8", "replace")[:LIMIT_BYTES].decode("utf-8", "ignore")


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """What to write to the terminal of this environment to have `text` copied."""
    bare = f"{_ESC}]52;c;{b64encode(text.encode('utf-8', 'replace')).decode('ascii')}\a"
    if environment.get("TMUX"):
        # tmux takes the bare one where it may (`set-clipboard on`), and passes the wrapped one on (`allow-passthrough on`).
        return f"{bare}{_ESC}Ptmux;{bare.replace(_ESC, _ESC * 2)}{_ESC}\\"
    if environment.get("TERM", "").startswith("screen"):
        chunks = (bare[at : at + _SCREEN_CHUNK] for at in range(0, len(bare), _SCREEN_CHUNK))
        return "".join(f"{_ESC}P{chunk}{_ESC}\\" for chunk in chunks)
    return bare


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


def command_line(command: Command, program: tuple[str, ...] = ("citadel",), *, now: bool = False) -> str:
    """What to type in a shell; several commands are carried out as long as each succeeds."""
    return " && ".join(
        join([*program, *_words(single), *(["--now"] if now and not isinstance(single, SetPin | Unpin) else [])])
        for single in singles_of(command)
    )


def placing(state: State, model: ModelName) -> Command:
    """What would bring `model` to where it is; a load on the best device when it is on none."""
    first, *others = state.places(model) or (None,)
    if others:
        loads = (Load(model, first), *(Load(model, device, also=True) for device in others))
        return Batch(f"load {model} on {len(loads)} devices", loads)
    pin = state.models[model].pin
    if pin is not None and pin.device is not None and is_cpu(pin.device):
        return ForceCpu(model) if pin.device == CPU else SetPin(model, pin.device)
    return Load(model, first)


def _words(command: Single) -> tuple[str, ...]:
    match command:
        case Load(model=model, device=device, also=True):
            return ("load", model, "--also", *filter(None, (device,)))
        case Load(model=model, device=device):
            return ("load", model, *_on(device))
        case Evict(model=model, device=device):
            return ("evict", model, *(("--from", device) if device else ()))
        case SetPin(model=model, device=device):
            return ("pin", model, *_on(device))
        case Unpin(model=model):
            return ("unpin", model)
        case ForceCpu(model=model):
            return ("cpu", model)
        case LeaveCpu(model=model):
            return ("cpu", model, "--back")
        case Move(model=model, device=device):
            return ("move", model, device)
        case _:
            assert_never(command)


def _on(device: DeviceId | None) -> tuple[str, ...]:
    return ("--on", device) if device else ()


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────


def save_picture(svg: str, folder: Path, at_s: float) -> Path:
    """Write a picture taken at `at_s` into `folder`, readable for its owner only; where. Raises EngineError."""
    try:
        path = dated_path(folder, at_s, ".svg")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(svg)
    except OSError as error:
        raise EngineError(f"no picture was saved: {error.filename or folder}: {error.strerror}") from None
    return path
