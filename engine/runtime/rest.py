"""The sampler's rest: whether it may go on, and the word that it is over, which whoever sleeps through it hears at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from engine.runtime.ports import Clock


class Rest:
    """`is_allowed` says whether nothing depends on the next readings, at the moment when it is asked."""

    def __init__(self, is_allowed: Callable[[], bool]) -> None:
        self.is_allowed: Final = is_allowed
        self._over: Final = asyncio.Event()

    def look_again(self) -> None:
        """Something has happened that may have ended the rest, or made it possible."""
        if self.is_allowed():
            self._over.clear()
        else:
            self._over.set()

    async def sleep(self, clock: Clock, seconds: float) -> None:
        """So long, or until the rest is over."""
        waits = [asyncio.ensure_future(wait) for wait in (clock.sleep(seconds), self._wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for wait in done:
            wait.result()

    async def _wait(self) -> None:
        await self._over.wait()
