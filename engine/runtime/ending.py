"""How an engine comes to its end while models run: nothing new is taken, and what runs may end first, for so long as the settings
say or until somebody is in a hurry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from engine.api import EngineUnreachable
from engine.clock import Clock

NOTHING_NEW: Final = "the operator is ending the engine; nothing new is taken"
ENDED_BY_OPERATOR: Final = (
    "the engine was ended by its operator before this request was answered; nothing of it goes on"
)
"""What whoever still waits is told. Never to ask again: there is nobody left to ask."""


class Ending:
    """May be asked for more than once: a later word can only make it sooner."""

    def __init__(self, clock: Clock, drain_s: float, is_in_use: Callable[[], bool]) -> None:
        """`is_in_use`: whether anything runs; asked anew after each `look_again`."""
        self._clock: Final = clock
        self._drain_s: Final = drain_s
        self._is_in_use: Final = is_in_use
        self._has_begun = False
        self._hurry: Final = asyncio.Event()
        """Set when what runs is not waited for any more."""
        self._idle: Final = asyncio.Event()
        """Set when nothing runs any more; nothing can begin then, since nothing new is taken."""

    def refuse_if_begun(self) -> None:
        """Raises EngineUnreachable once the end has begun."""
        if self._has_begun:
            raise EngineUnreachable(NOTHING_NEW)

    def look_again(self) -> None:
        """What runs may have ended."""
        if self._has_begun and not self._is_in_use():
            self._idle.set()

    async def drained(self, *, now: bool) -> None:
        """Begin, and wait until nothing runs any more, its time has passed, or somebody wants it now."""
        self._has_begun = True
        if now:
            self._hurry.set()
        self.look_again()
        # Each may be over by now: an idle engine, and one that was hurried by an earlier call, end in this very turn of the loop.
        limits = [
            asyncio.ensure_future(self._clock.sleep(self._drain_s)),
            asyncio.ensure_future(self._hurry.wait()),
            asyncio.ensure_future(self._idle.wait()),
        ]
        try:
            await asyncio.wait(limits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for limit in limits:
                limit.cancel()
