"""`citadel` without a command: the console, over the engine that runs or a new one."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from typing import Final

from citadel_tui.cli.engine import our_paths, start_if_missing
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell
from engine.client import RemoteEngine, connect

_CAN_NOT_MOVE: Final = ("", "dumb", "unknown")
"""Values of TERM that promise no way to move the cursor."""


def why_no_console() -> str:
    """Why the console can't be shown, in words; empty when it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "the console needs a terminal"
    term = os.environ.get("TERM", "")
    if term in _CAN_NOT_MOVE:
        return f"a terminal with TERM={term} can't show the console" if term else "the console needs TERM to be set"
    return ""


def run(arguments: Namespace) -> int:
    if why_not := why_no_console():
        tell(
            f"{why_not}; `citadel status --watch --plain` prints the same figures, `citadel log --follow` what happens, "
            "`citadel --help` lists the commands"
        )
        return Exit.NO_ENGINE
    paths = our_paths()

    async def attach() -> RemoteEngine:
        return await connect(paths, read_only=arguments.read_only)

    asyncio.run(attach() if arguments.read_only else start_if_missing(arguments))
    from citadel_tui.run import run_console

    return run_console(attach, read_only=arguments.read_only, mouse=arguments.mouse)
