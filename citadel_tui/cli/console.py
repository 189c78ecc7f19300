"""`citadel` without a command: the console, over the engine that runs or a new one, or over another machine's. `citadel fleet`:
the console over several boxes, every command that speaks to an engine, over all of them, and the service that these talk to."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from shlex import join
from typing import TYPE_CHECKING, Final

from citadel_tui.cli.engine import attached, engine_paths, our_paths, reached, start_if_missing
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell, why_no_console
from citadel_tui.cli.parser import Arguments, CommandParser, add_command, add_speaking
from citadel_tui.cli.setup.fleet import add_setup
from citadel_tui.text import clean
from citadel_tui.uncollected import uncollected
from citadel_tui.words.boxes import fleet_text, no_fleet_text
from engine.client import connect
from engine.core.catalog import catalog_change_text
from engine.paths import fleet_file, fleet_paths
from engine.process import end_engine, ensure_engine
from engine.transport import NoEngine

if TYPE_CHECKING:
    from citadel_tui.timeline.chronicle import Chronicle

_SERVICE: Final = ("-P", "-m", "fleet.service")
"""What Python runs; `-P` keeps a folder named fleet in the working folder from being taken for ours."""


class StopFleetArguments(Arguments, frozen=True, kw_only=True):
    now: bool


def add_arguments(command: CommandParser) -> None:
    command.carried_out_by(_run, Arguments)
    if command.name == "fleet":
        command.set_defaults(fleet=True)
        actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action")
        about = "take up what fleet.yaml says now, as `drained: true`, and the catalogs of all boxes"
        add_command(actions, "reload", about, _add_reload, starts=False)
        add_command(actions, "undrain", "let a drained box take what comes again", _add_undrain, starts=False)
        add_command(actions, "serve", "run the fleet's service in the foreground", _add_serve, starts=False)
        add_command(
            actions, "stop", "end the fleet's service; its boxes and their models stay", _add_stop, starts=False
        )
        add_setup(actions)
        add_speaking(actions)


def _run(arguments: Arguments) -> int:
    program = join(arguments.program)
    if why_not := why_no_console():
        tell(
            f"{why_not}; `{program} status --watch --plain` prints the same figures, `{program} log --follow` what happens, "
            f"`{program} --help` lists the commands"
        )
        return Exit.NO_ENGINE
    asyncio.run(_look(arguments))
    with uncollected():
        from citadel_tui.app import CitadelApp
        from citadel_tui.run import run_console

    # What is recorded here is this machine's past.
    recall = None if arguments.is_elsewhere else _recorded
    make = partial(CitadelApp, recall=recall, program=arguments.program)
    attach = partial(reached, arguments)
    return run_console(attach, read_only=arguments.read_only, mouse=arguments.mouse, make=make)


def _recorded() -> Chronicle:
    from citadel_tui.timeline.recorded import recorded_past

    return recorded_past(our_paths())


async def _look(arguments: Arguments) -> None:
    """See to it that an engine answers, while errors still go to the shell. Raises EngineError."""
    if arguments.fleet and not arguments.read_only:
        await _start_fleet_if_missing()
    elif arguments.is_elsewhere or arguments.read_only:
        await (await reached(arguments)).close()
    else:
        await start_if_missing(arguments)


async def _start_fleet_if_missing() -> None:
    """Raises EngineError, also where no file lists the boxes."""
    paths, file = fleet_paths(our_paths()), fleet_file(os.environ)
    try:
        await (await connect(paths)).close()
    except NoEngine as error:
        if not file.exists():
            raise NoEngine(no_fleet_text(file)) from error
        tell(f"starting the fleet's service on the boxes that {file} lists …")
        if await ensure_engine(paths, None, _SERVICE) == "started":
            tell("the fleet's service runs, and goes on when you leave; end it with `citadel fleet stop`")


# ── the fleet's service ───────────────────────────────────────────────────────────────────────────


def _add_serve(command: CommandParser) -> None:
    command.carried_out_by(_serve, Arguments)


def _serve(_: Arguments) -> int:
    """Become the service, as `citadel serve` becomes the engine."""
    if not fleet_file(os.environ).exists():
        raise NoEngine(no_fleet_text(fleet_file(os.environ)))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *_SERVICE])


def _add_reload(command: CommandParser) -> None:
    command.carried_out_by(_reload, Arguments)


def _reload(arguments: Arguments) -> int:
    return asyncio.run(_taken_up(arguments))


async def _taken_up(arguments: Arguments) -> Exit:
    async with attached(arguments) as engine:
        change = await engine.reload()
        boxes = (await engine.snapshot()).boxes
    print(f"{fleet_text(boxes)}; {clean(catalog_change_text(change))}")
    for remark in change.remarks:
        tell(remark)
    return Exit.DONE


def _add_undrain(command: CommandParser) -> None:
    from citadel_tui.cli.drain_box import add_undrain  # only now: it reads YAML

    add_undrain(command)


def _add_stop(command: CommandParser) -> None:
    command.add_argument("--now", action="store_true", help="end the requests that run, don't wait for them")
    command.carried_out_by(_stop, StopFleetArguments)


def _stop(arguments: StopFleetArguments) -> int:
    asyncio.run(end_engine(engine_paths(arguments), now=arguments.now, tell=tell))
    print("the fleet's service has ended; its boxes and their models stay")
    return Exit.DONE
