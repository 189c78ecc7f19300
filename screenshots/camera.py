"""A console that is driven by keys, without a terminal, and looked at: for pictures and for films."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.pages.bench import BenchItem
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.lists import ModelTable, SwitchLog
from citadel_tui.widgets.rows import RowList
from engine.api import EngineAPI
from engine.client import connect
from engine.core.names import ModelName
from engine.core.records import Switch
from engine.paths import Paths
from screenshots.pictures import FOLDER, save
from screenshots.stage import PATIENCE_S

SETTLING_S: Final = 0.5
"""Until the screen shows the newest state: it is handed over four times a second."""
SMALL: Final = (80, 24)
LARGE: Final = (160, 50)
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
        await self._until(lambda: self._shows(text), f"{text!r} was never seen")

    async def sees_nothing_under_way(self) -> None:
        await self._until(
            lambda: (found := self._app.link.scene().snapshot) is not None and not found.jobs,
            "something stayed under way",
        )
        await self._pilot.pause(SETTLING_S)

    async def select(self, model: ModelName) -> None:
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

    async def untick(self, item: BenchItem) -> None:
        """In the choice of a benchmark."""
        self._app.screen.query_one(RowList).put_cursor(item)
        await self.press("space")

    def drawn(self, title: str = "citadel") -> str:
        """What is on the screen now, as SVG."""
        return self._app.export_screenshot(title=title)

    def save(self, screen: str, title: str = "citadel") -> None:
        """As files, named after the screen and its size."""
        save(self.drawn(title), FOLDER / f"{screen}-{self._size[0]}x{self._size[1]}.svg")

    def _shows(self, text: str) -> bool:
        return any(text in view.plain for view in self._app.screen.query(LineView))

    async def _until(self, met: Callable[[], bool], otherwise: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not met():
                    await self._pilot.pause(0.05)
        except TimeoutError:
            raise TimeoutError(f"{otherwise} within {PATIENCE_S:g} s") from None


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
