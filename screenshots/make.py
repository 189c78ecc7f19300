"""Takes the README's pictures from the real program, over a real engine with real work behind it.

`python -m screenshots.make` writes an SVG of each screen and size beside this file, and a PNG where rsvg-convert is installed.
"""

from __future__ import annotations

import asyncio
import os
import signal

from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.viewmodel.pages.bench import BenchItem
from engine.client import connect
from engine.core.commands import Load
from engine.paths import Paths
from screenshots.camera import LARGE, SMALL, camera
from screenshots.stage import carry_out, drive, own_engine, work


async def take_daily_life(paths: Paths, size: tuple[int, int]) -> None:
    """The dashboard, the details of a model, and the preview of a plan with a victim."""
    async with camera(paths, size) as shot:
        shot.save("dashboard")
        await shot.press("enter")
        await shot.sees("Phases")
        shot.save("details")
        await shot.press("escape")
        await shot.select("bge-base")
        await shot.press("l", "down", "enter")
        await shot.sees("[Cancel]")
        shot.save("preview")
        await shot.press("escape")


async def take_waterfall(paths: Paths) -> None:
    async with camera(paths, SMALL) as shot:
        await shot.select_newest_load()
        await shot.press("enter")
        await shot.sees("Phases")
        shot.save("waterfall")


async def take_benchmark(paths: Paths) -> None:
    """What it has found, once everything is back in its place."""
    async with camera(paths, SMALL) as shot:
        await shot.press("exclamation_mark", "escape")  # The fault has been read, and is announced no longer.
        await shot.press("b")
        await shot.sees("enter measures")
        await shot.untick(BenchItem("devices", "gpu1"))
        await shot.press("enter")
        await shot.sees("[Cancel]")
        await shot.press("y")
        await shot.sees("Compare with an earlier run")
        await shot.sees_nothing_under_way()
        shot.save("benchmark")


async def take_looks(paths: Paths) -> None:
    """Light colours, and a terminal that has only ASCII."""
    async with camera(paths, SMALL, Look(UNICODE, "citadel-light")) as shot:
        shot.save("light")
    async with camera(paths, SMALL, Look(ASCII, "citadel-ansi")) as shot:
        shot.save("ascii")


async def take_fault(paths: Paths) -> None:
    """A worker is killed, as the kernel does when memory runs out."""
    async with camera(paths, SMALL) as shot:
        state = (await (await connect(paths)).snapshot()).state
        worker = state.devices["gpu0"].worker_pid
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        await shot.sees("SIGKILL")
        shot.save("fault")


async def take_advice(paths: Paths) -> None:
    """What would have helped the requests of a play."""
    async with camera(paths, LARGE) as shot:
        await shot.press("a")
        await shot.sees("Would help")
        shot.save("advice")


async def main() -> None:
    async with own_engine() as paths:
        await work(await connect(paths))
        for size in (SMALL, LARGE):
            await take_daily_life(paths, size)
        await take_waterfall(paths)
        await take_looks(paths)
        await take_fault(paths)
        await carry_out(await connect(paths), Load("phi-3-mini", "gpu0"), "after-the-fault")
        await take_benchmark(paths)
        await drive("models=4,requests=700,zipf=0.6,seed=1")
        await take_advice(paths)


if __name__ == "__main__":
    asyncio.run(main())
