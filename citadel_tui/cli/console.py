"""`citadel` without a command: the console, over the engine that runs or a new one."""

from __future__ import annotations

import asyncio
from functools import partial

from citadel_tui.cli.engine import our_paths, start_if_missing
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell, why_no_console
from citadel_tui.cli.parser import Arguments, CommandParser
from engine.client import RemoteEngine, connect


def add_arguments(command: CommandParser) -> None:
    command.carried_out_by(run, Arguments)


def run(arguments: Arguments) -> int:
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
    from citadel_tui.app import CitadelApp
    from citadel_tui.run import run_console
    from citadel_tui.timeline.recorded import recorded_past

    make = partial(CitadelApp, recall=partial(recorded_past, paths))
    return run_console(attach, read_only=arguments.read_only, mouse=arguments.mouse, make=make)
