"""The `citadel` command: every screen's scriptable twin. One module a group of commands, imported when it is used."""

from citadel_tui.cli.entry import main

__all__ = ["main"]
