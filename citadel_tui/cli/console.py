"""`citadel` without a command: the console, over the engine that runs or a new one, over a fleet, or over another machine's."""

from __future__ import annotations

import asyncio
from functools import partial
from shlex import join

from citadel_tui.cli.engine import our_paths, reached, start_if_missing
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell, why_no_console
from citadel_tui.cli.parser import Arguments, CommandParser
from engine.client import RemoteEngine


def add_arguments(command: CommandParser) -> None:
    command.carried_out_by(run, Arguments)


def run(arguments: Arguments) -> int:
    program = join(arguments.program)
    if why_not := why_no_console():
        tell(
            f"{why_not}; `{program} status --watch --plain` prints the same figures, `{program} log --follow` what happens, "
            f"`{program} --help` lists the commands"
        )
        return Exit.NO_ENGINE
    asyncio.run(_look(arguments))
    from citadel_tui.app import CitadelApp
    from citadel_tui.run import run_console
    from citadel_tui.timeline.recorded import recorded_past

    # What is recorded here is this machine's past.
    recall = None if arguments.is_elsewhere else partial(recorded_past, our_paths())
    make = partial(CitadelApp, recall=recall, program=arguments.program)
    attach = partial(reached, arguments)
    return run_console(attach, read_only=arguments.read_only, mouse=arguments.mouse, make=make)


async def _look(arguments: Arguments) -> None:
    """See to it that an engine answers, while errors still go to the shell. Raises EngineError."""
    if arguments.is_elsewhere or arguments.read_only:
        engine: RemoteEngine = await reached(arguments)
        await engine.close()
    else:
        await start_if_missing(arguments)
