"""`citadel serve` and `citadel stop`: the engine's process in the foreground, and its end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from citadel_tui.cli.engine import our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.parser import Arguments, CommandParser
from engine.client import RemoteEngine
from engine.process import ENGINE_PROGRAM, wait_until_gone


class ServeArguments(Arguments, frozen=True, kw_only=True):
    http: str | None


def add_arguments(command: CommandParser) -> None:
    if command.name == "stop":
        command.carried_out_by(_stop, Arguments)
        return
    command.add_argument("--http", metavar="HOST:PORT", help="serve applications there, as http.listen says otherwise")
    command.carried_out_by(_serve, ServeArguments)


def _serve(arguments: ServeArguments) -> int:
    """Become the engine: signals, and a service manager's idea of the process, then need no passing on."""
    from engine.settings import find_config_folder

    folder = find_config_folder(arguments.config, os.environ, Path.cwd())
    if arguments.http is not None:
        os.environ["CITADEL_LISTEN"] = arguments.http  # checked where all settings are
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *ENGINE_PROGRAM, "--config", str(folder)])


def _stop(_arguments: Arguments) -> int:
    return asyncio.run(_end_engine())


async def _end_engine() -> Exit:
    paths = our_paths()
    await RemoteEngine(paths.socket).stop()
    await wait_until_gone(paths)
    print("the engine has ended")
    return Exit.DONE
