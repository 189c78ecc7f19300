"""A console from beginning to end: with the settings that were left behind, and with what is said of a crash."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from citadel_tui.app import CitadelApp
from citadel_tui.faults import crash_text, write_trace
from citadel_tui.flow import StatusMessage
from citadel_tui.link import Connect
from citadel_tui.settings.file import load_settings_file, save_settings_file
from citadel_tui.settings.settings import ConsoleSettings
from citadel_tui.theme import Look, look_for
from citadel_tui.uncollected import uncollected
from engine.paths import console_file, find_paths


class MakeApp(Protocol):
    """Makes the app, given what every console has."""

    def __call__(
        self, connect: Connect, look: Look, *, read_only: bool, settings: ConsoleSettings, first: bool
    ) -> CitadelApp: ...


def run_console(connect: Connect, *, read_only: bool, mouse: bool = True, make: MakeApp = CitadelApp) -> int:
    """Run the console until the operator leaves; its exit status. `connect` is called again to reconnect."""
    loaded = load_settings_file(console_file(os.environ))
    look = look_for(os.environ, sys.stdout.encoding or "", loaded.settings.colours)
    with uncollected():
        app = make(connect, look, read_only=read_only, settings=loaded.settings, first=loaded.first)
    if loaded.complaint:
        app.say(StatusMessage(loaded.complaint, "warn"))
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
