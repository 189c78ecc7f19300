"""Takes the README's pictures from the real program, over a real engine with real work behind it.

`python -m screenshots.make` writes an SVG of each screen and size beside this file, and a PNG where rsvg-convert is installed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.look import Look
from citadel_tui.viewmodel.bench_choice import Item
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.log import SwitchLog
from citadel_tui.widgets.rows import RowList
from citadel_tui.widgets.table import ModelTable
from engine.api import EngineAPI
from engine.client import connect
from engine.core.commands import Load
from engine.core.records import Switch
from engine.paths import Paths
from screenshots.stage import PATIENCE_S, carry_out, own_engine, work

FOLDER: Final = Path(__file__).parent
SMALL: Final = (80, 24)
LARGE: Final = (160, 50)
FITTING: Final = "font-size: 19.825px"
"""At which a character of Fira Code, 1200/1950 of it, is as wide as the picture's cells: 12.2 pixels."""
DARK: Final = Look(UNICODE, "citadel")


class Camera:
    """A console of one size and look, and what it takes of itself."""

    def __init__(self, app: CitadelApp, pilot: Pilot[int], size: tuple[int, int]) -> None:
        self._app = app
        self._pilot = pilot
        self._size = size

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def sees(self, text: str) -> None:
        await self._until(lambda: any(text in view.plain for view in self._app.screen.query(LineView)))

    async def select(self, model: str) -> None:
        self._app.screen.query_one(ModelTable).put_cursor(model)
        await self._pilot.pause()

    async def select_newest_load(self) -> None:
        """In the log, where its waterfall opens."""
        records = self._app.link.scene().records
        newest = next(r for r in reversed(records) if isinstance(r.entry, Switch) and r.entry.plan.loads)
        log = self._app.screen.query_one(SwitchLog)
        log.focus()
        log.put_cursor(newest.seq)
        await self._pilot.pause()

    async def untick(self, item: Item) -> None:
        """In the choice of a benchmark."""
        self._app.screen.query_one(RowList).put_cursor(item)
        await self.press("space")

    def save(self, screen: str) -> None:
        """The SVG, and its PNG where the converter is installed."""
        path = FOLDER / f"{screen}-{self._size[0]}x{self._size[1]}.svg"
        drawn = self._app.export_screenshot(title="citadel")
        path.write_text(drawn, encoding="utf-8")
        if converter := shutil.which("rsvg-convert"):
            # The converter drops blanks at the beginning of a text unless it is told to keep them, and knows no textLength.
            kept = drawn.replace("<text ", '<text xml:space="preserve" ').replace("font-size: 20px", FITTING)
            command = [converter, "--output", str(path.with_suffix(".png"))]
            subprocess.run(command, input=kept.encode(), check=True)

    async def _until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not met():
                await self._pilot.pause(0.05)


@asynccontextmanager
async def camera(paths: Paths, size: tuple[int, int], look: Look = DARK) -> AsyncIterator[Camera]:
    """A console that shows phi-3-mini under its cursor."""

    async def attach() -> EngineAPI:
        return await connect(paths)

    app = CitadelApp(attach, look, read_only=False)
    async with app.run_test(size=size) as pilot:
        found = Camera(app, pilot, size)
        await found.sees("bge-base")
        await found.select("phi-3-mini")
        yield found


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
        await shot.press("b")
        await shot.sees("enter measures")
        await shot.untick(Item("devices", "gpu1"))
        await shot.press("enter")
        await shot.sees("[Cancel]")
        await shot.press("y")
        await shot.sees("Compare with an earlier run")
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
        await shot.sees("will be loaded")
        shot.save("fault")


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


if __name__ == "__main__":
    asyncio.run(main())
