"""A box with two scripted cards, the real engine on it, and the console over that; and a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from engine.clock import SystemClock
from engine.core.sizes import GIB, MIB
from tests.nvml.script import NvmlScript, Process, ScriptedCard
from tests.runtime.live_engines import Box, cards_engine
from tests.tui.consoles import NOON_S, Console, open_console

SILENT_S: Final = 12.0
"""Long enough for the driver to be tried again; so old are the last figures then."""


class StandingClock(SystemClock):
    """Its steady time passes when a test says so; by the wall it is `SILENT_S` behind the console's noon."""

    def __init__(self) -> None:
        self._passed_s = 0.0

    def now(self) -> float:
        return NOON_S - SILENT_S

    def monotonic(self) -> float:
        return 5_000.0 + self._passed_s

    def passes(self, seconds: float) -> None:
        self._passed_s += seconds


class Stage(NamedTuple):
    """A box with two cards, and the console over its engine."""

    console: Console
    box: Box
    script: NvmlScript
    first: ScriptedCard
    second: ScriptedCard
    clock: StandingClock

    def device_row(self, device: str) -> str:
        return next(line for line in self.console.text.split("\n") if line.startswith(f" {device}"))


@asynccontextmanager
async def two_cards(folder: Path, script: NvmlScript, call_s: float = 30.0) -> AsyncIterator[Stage]:
    first, second = script.card(total=4 * GIB).uses(300 * MIB), script.card(total=4 * GIB)
    first.runs(Process(4321, 300 * MIB))
    clock = StandingClock()
    async with (
        cards_engine(folder, script, clock, call_s, clock) as box,
        open_console(box.engine, size=(160, 30)) as console,
    ):
        await console.sees("▒300")
        yield Stage(console, box, script, first, second, clock)
