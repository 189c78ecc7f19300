"""`citadel` without a command: the console, over the engine that runs or a new one."""

from __future__ import annotations

import asyncio
from argparse import Namespace

from citadel_tui.cli.exits import Exit
from citadel_tui.cli.engine import our_paths, start_if_missing
from citadel_tui.cli.output import tell
from citadel_tui.cli.terminal import why_no_console
from engine.client import RemoteEngine, connect


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
