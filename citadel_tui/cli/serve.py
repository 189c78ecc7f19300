"""`citadel serve` and `citadel stop`: the engine's process in the foreground, and its end."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from pathlib import Path

from citadel_tui.cli.engine import our_paths
from citadel_tui.cli.entry import Exit
from engine.client import RemoteEngine
from engine.process import ENGINE_PROGRAM, wait_until_gone


def run(arguments: Namespace) -> int:
    return _serve(arguments.config) if arguments.command == "serve" else asyncio.run(_stop())


def _serve(config: Path | None) -> int:
    """Become the engine: signals, and a service manager's idea of the process, then need no passing on."""
    from engine.settings import find_config_folder

    folder = find_config_folder(config, os.environ, Path.cwd())
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *ENGINE_PROGRAM, "--config", str(folder)])


async def _stop() -> Exit:
    paths = our_paths()
    await RemoteEngine(paths.socket).stop()
    await wait_until_gone(paths)
    print("the engine has ended")
    return Exit.DONE
