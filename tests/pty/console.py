"""A console over a scripted engine, to be run in a terminal: `python -m tests.pty.console quiet|changing|broken|stumbling [GPUS]`
or over the engine that is served there, at a time that stands still: `… served`."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from itertools import count

from citadel_tui.app import CitadelApp
from citadel_tui.run import run_console
from citadel_tui.terminal import driver
from citadel_tui.terminal.frames import Frame
from citadel_tui.terminal.shown import Shown
from engine.api import EngineAPI
from engine.client import connect as connect_to
from engine.paths import find_paths
from tests.pty.moving_figures import moved, requests_moved
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import FARING, busy_engine, with_gpus
from tests.tui.consoles import NOON_S


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


class Stumbling(Shown):
    """Breaks at every third frame, in the middle of it."""

    def __init__(self) -> None:
        super().__init__()
        self._number = count(1)

    def turn_to(self, frame: Frame) -> str:
        written = super().turn_to(frame)
        if next(self._number) % 3 == 0:
            raise LookupError("a fault in painting")
        return written


def main(mode: str, gpus: int = 2) -> int:
    background: set[asyncio.Task[None]] = set()
    if mode == "stumbling":
        vars(driver)["Shown"] = Stumbling

    async def connect() -> EngineAPI:
        if mode == "served":
            return await connect_to(find_paths(os.environ))
        if mode == "broken":
            return Broken()
        engine = await busy_engine(models=8)
        engine.set_state(with_gpus(engine.state, gpus))
        if mode == "changing":
            background.add(asyncio.create_task(change_every_second(engine)))
        return engine

    make = partial(CitadelApp, now=lambda: NOON_S) if mode == "served" else CitadelApp
    return run_console(connect, read_only=False, make=make)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
