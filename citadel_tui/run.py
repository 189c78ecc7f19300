"""A console from beginning to end: with the settings that were left behind, and with what stays of a crash.

That is the trace, in a file that only its owner can read, without the values of variables.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from pathlib import Path
from typing import Final, Protocol

from citadel_tui.app import CitadelApp
from citadel_tui.flow import StatusMessage
from citadel_tui.link import Connect
from citadel_tui.settings.file import load_settings_file, save_settings_file
from citadel_tui.settings.settings import ConsoleSettings
from citadel_tui.theme import Look, look_for
from engine.paths import console_file, find_paths

_TRACE_FILE: Final = "console-crash.txt"


class MakeApp(Protocol):
    """Makes the app, given what every console has."""

    def __call__(
        self, connect: Connect, look: Look, *, read_only: bool, settings: ConsoleSettings, first: bool
    ) -> CitadelApp: ...


def run_console(connect: Connect, *, read_only: bool, mouse: bool = True, make: MakeApp = CitadelApp) -> int:
    """Run the console until the operator leaves; its exit status. `connect` is called again to reconnect."""
    loaded = load_settings_file(console_file(os.environ))
    look = look_for(os.environ, sys.stdout.encoding or "", loaded.settings.colours)
    app = make(connect, look, read_only=read_only, settings=loaded.settings, first=loaded.first)
    if loaded.complaint:
        app.say(StatusMessage(loaded.complaint, "warn"))
    gc.freeze()  # else the collector goes through all that was imported, for up to 40 ms in which no key is heard
    app.run(mouse=mouse)
    if app.crash is not None:
        sys.stderr.write(f"{crash_text(app.crash, write_trace(app.crash, find_paths(os.environ).state))}\n")
    elif app.welcomed or (not loaded.complaint and app.settings != loaded.settings):
        _remember(app.settings)
    return app.return_code or 0


def _remember(settings: ConsoleSettings) -> None:
    """For the next time."""
    try:
        save_settings_file(console_file(os.environ), settings)
    except OSError as error:
        sys.stderr.write(f"citadel: how you left the console could not be kept: {error}\n")


# ── what stays of a crash ─────────────────────────────────────────────────────────────────────────


def write_trace(error: BaseException, folder: Path) -> Path | None:
    """The file that the trace was written to, or None when it could not be written."""
    path = folder / _TRACE_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path


def crash_text(error: BaseException, path: Path | None) -> str:
    """What the operator is told."""
    where = f"; the trace is in {path}" if path else "; its trace could not be written"
    return f"citadel: the console broke ({type(error).__name__}); the engine and its models are untouched{where}"
