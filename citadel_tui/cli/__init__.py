"""The `citadel` command: every screen's scriptable twin. A module for each command or family, imported when it is asked for."""

from citadel_tui.cli.entry import main

__all__ = ["main"]
