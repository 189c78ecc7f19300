"""`citadel fleet`: the console over several boxes; `citadel fleet COMMAND`: what speaks to an engine, over all of them; and the
service that both talk to."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from citadel_tui.cli import console
from citadel_tui.cli.engine import engine_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser, add_command, add_speaking
from citadel_tui.words.boxes import no_fleet_text
from engine.paths import fleet_file
from engine.process import end_engine
from engine.transport import NoEngine

_SERVICE: Final = ("-P", "-m", "fleet.service")
"""What Python runs; `-P` keeps a folder named fleet in the working folder from being taken for ours."""


class StopArguments(Arguments, frozen=True, kw_only=True):
    now: bool


def add_arguments(command: CommandParser) -> None:
    command.set_defaults(fleet=True)
    actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    add_command(actions, "serve", "run the fleet's service in the foreground", _add_serve, starts=False)
    add_command(actions, "stop", "end the fleet's service; its boxes and their models stay", _add_stop, starts=False)
    add_speaking(actions)
    command.carried_out_by(console.run, Arguments)  # without a further word


def _add_serve(command: CommandParser) -> None:
    command.carried_out_by(_serve, Arguments)


def _add_stop(command: CommandParser) -> None:
    command.add_argument("--now", action="store_true", help="end the requests that run, don't wait for them")
    command.carried_out_by(_stop, StopArguments)


def _serve(_: Arguments) -> int:
    """Become the service, as `citadel serve` becomes the engine."""
    if not fleet_file(os.environ).exists():
        raise NoEngine(no_fleet_text(fleet_file(os.environ)))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *_SERVICE])


def _stop(arguments: StopArguments) -> int:
    asyncio.run(end_engine(engine_paths(arguments), now=arguments.now, tell=tell))
    print("the fleet's service has ended; its boxes and their models stay")
    return Exit.DONE
