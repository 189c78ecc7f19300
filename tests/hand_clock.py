"""Time that a test moves, for whoever is given a clock."""

from __future__ import annotations

import asyncio
from typing import Final

_BEGAN_S: Final = 1_800_000_000.0
_BOOTED_S: Final = 1_799_999_000.0


class HandClock:
    """Stands still until the test says so; who sleeps is woken when that time has passed."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._back_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._slept: Final = asyncio.Event()
        """Set when somebody begins to sleep."""

    def now(self) -> float:
        return _BEGAN_S + self.passed_s - self._back_s

    def monotonic(self) -> float:
        return _BEGAN_S + self.passed_s - _BOOTED_S

    async def sleep(self, seconds: float) -> None:
        sleeper = self.passed_s + seconds, asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        self._slept.set()
        try:
            await sleeper[1]
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def set_back(self, seconds: float) -> None:
        """The wall clock is, and the steady one knows nothing of it."""
        self._back_s += seconds

    @property
    def is_slept_by_somebody(self) -> bool:
        return bool(self._sleepers)

    async def somebody_sleeps(self) -> None:
        """Returns once somebody sleeps."""
        while not self._sleepers:
            self._slept.clear()
            await self._slept.wait()

    def jumps(self, seconds: float) -> bool:
        """So much passes at once, and nobody has done anything yet; whether it woke somebody."""
        self.passed_s += seconds
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.passed_s]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper not in due]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)
        return bool(due)

    async def jumps_over_a_sleep(self, seconds: float) -> None:
        """So much passes at once; returns when whoever was woken sleeps again."""
        self._slept.clear()
        if self.jumps(seconds):
            await self._slept.wait()

    async def pass_by(self, seconds: float) -> None:
        """So much passes, and whoever wakes meanwhile gets to do what it does."""
        until_s = self.passed_s + seconds
        while (next_s := min((at_s for at_s, _ in self._sleepers), default=until_s + 1)) <= until_s:
            self.jumps(max(0.0, next_s - self.passed_s))
            await settled()
        self.passed_s = until_s


async def settled() -> None:
    """Everything that can happen without time or news has happened."""
    for _turn in range(50):
        await asyncio.sleep(0)
