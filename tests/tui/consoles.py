"""Opens the console over an engine and waits for what a test expects, never for time to pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.widgets.lines import LineView
from citadel_tui.widgets.lists import ModelTable
from engine.api import EngineAPI, EngineUnreachable
from tests.patience import Patience
from tests.scripted_plans import START_S

NOON_S = START_S + 60.0
"""The console's clock in tests: it stands still."""


class Clock:
    """The console's time, which passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


class Line:
    """Gives the console an engine, until the test cuts it."""

    def __init__(self, engine: EngineAPI) -> None:
        self.engine = engine
        self.up = True
        self.attempts = 0

    async def connect(self) -> EngineAPI:
        self.attempts += 1
        if not self.up:
            raise EngineUnreachable("no engine answers")
        return self.engine


class Console:
    """A running console, seen as an operator sees it."""

    def __init__(self, pilot: Pilot[int], app: CitadelApp) -> None:
        self.pilot = pilot
        self.app = app

    @property
    def text(self) -> str:
        """What the screen on top says."""
        return "\n".join(view.plain for view in self.app.screen.query(LineView))

    @property
    def painted(self) -> str:
        """The screen on top, row by row, as it is on the terminal."""
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips())

    @property
    def rows(self) -> list[str]:
        """The model table's lines, rule and titles first."""
        return self.app.screen_stack[0].query_one(ModelTable).plain.split("\n")

    @property
    def selected(self) -> str | None:
        return self.app.screen_stack[0].query_one(ModelTable).cursor

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, met: Callable[[], object]) -> None:
        """Lets the console work until `met` holds; a vain wait fails with what the screen says."""
        patience = Patience()
        while not met():
            if not patience:
                pytest.fail(f"the screen never came to that:\n{self.text}")
            await self.pilot.pause()

    async def settles(self) -> None:
        """Waits until the screen stays as it is."""
        before = ""
        while before != self.painted:
            before = self.painted
            await self.pilot.pause()

    async def sees(self, text: str) -> None:
        """Waits until the screen on top says `text`."""
        await self.until(lambda: text in self.text)

    async def select(self, model: str) -> None:
        """Puts the cursor on `model`."""
        self.app.screen_stack[0].query_one(ModelTable).put_cursor(model)
        await self.until(lambda: self.selected == model)


@asynccontextmanager
async def open_console(
    engine: EngineAPI,
    *,
    line: Line | None = None,
    size: tuple[int, int] = (80, 24),
    read_only: bool = False,
    program: tuple[str, ...] = ("citadel",),
) -> AsyncIterator[Console]:
    """A console that shows the engine's newest snapshot."""
    found = line or Line(engine)
    app = CitadelApp(
        found.connect,
        Look(UNICODE, "citadel"),
        read_only=read_only,
        now=lambda: NOON_S,
        monotonic=lambda: NOON_S,
        program=program,
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        console = Console(pilot, app)
        await console.sees("live")
        yield console
