"""`citadel` without a command: the console, over the engine that runs or a new one."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace

from citadel_tui.cli.exits import Exit
from citadel_tui.cli.session import our_paths, start_if_missing
from citadel_tui.cli.streams import tell
from engine.client import RemoteEngine, connect


def run(arguments: Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        tell(
            "the console needs a terminal; `citadel status` prints the same figures, `citadel --help` lists the commands"
        )
        return Exit.NO_ENGINE
    paths = our_paths()

    async def attach() -> RemoteEngine:
        return await connect(paths, read_only=arguments.read_only)

    asyncio.run(attach() if arguments.read_only else start_if_missing(arguments))
    from citadel_tui.app import run_console

    return run_console(attach, read_only=arguments.read_only, mouse=arguments.mouse)
