"""A console over a scripted engine, to be run in a terminal: `python -m tests.pty.console quiet|changing|broken [GPUS]`."""

from __future__ import annotations

import asyncio
import sys

from citadel_tui.run import run_console
from engine.api import EngineAPI
from tests.pty.moving_figures import moved, requests_moved
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import FARING, busy_engine, with_gpus


async def change_every_second(engine: ScriptedEngine) -> None:
    number = 0
    while True:
        await asyncio.sleep(1)
        number += 1
        engine.set_state(moved(engine.state, number))
        engine.set_requests(requests_moved(FARING, number))


class Broken(ScriptedEngine):
    """Raises what no engine may raise."""

    async def records(self, limit: int = 100) -> tuple[()]:
        raise RuntimeError("a fault in the console")


def main(mode: str, gpus: int = 2) -> int:
    background: set[asyncio.Task[None]] = set()

    async def connect() -> EngineAPI:
        if mode == "broken":
            return Broken()
        engine = await busy_engine(models=8)
        engine.set_state(with_gpus(engine.state, gpus))
        if mode == "changing":
            background.add(asyncio.create_task(change_every_second(engine)))
        return engine

    return run_console(connect, read_only=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
