"""What the host's page cache holds of slabs is looked at now and then, and told as it changes."""

from __future__ import annotations

import asyncio

from engine.runtime.slab_transfers import watch_page_cache
from engine.scheduler.messages import Message, PageCacheSeen
from tests.runtime.scripted_workers import ScriptedStore


class StepClock:
    """Sleeps until the test takes the next step."""

    def __init__(self) -> None:
        self.slept = asyncio.Event()
        self.step = asyncio.Event()

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.set()
        await self.step.wait()
        self.step.clear()

    async def next_look(self) -> None:
        """Wait until a look has ended, then let the next one begin, and end."""
        await self.slept.wait()
        self.slept.clear()
        self.step.set()
        await self.slept.wait()


async def test_what_has_changed_is_told_once_and_nothing_is_looked_at_while_somebody_measures() -> None:
    store, clock, posted, may_look = ScriptedStore({}, {}), StepClock(), list[Message](), asyncio.Event()
    may_look.set()
    watch = asyncio.create_task(watch_page_cache(store, clock, posted.append, may_look.is_set))
    await clock.next_look()
    assert posted == [PageCacheSeen(frozenset())]
    store.cached = frozenset({"a"})
    await clock.next_look()
    await clock.next_look()
    assert posted[1:] == [PageCacheSeen(frozenset({"a"}))]
    may_look.clear()
    store.cached = frozenset()
    await clock.next_look()
    assert len(posted) == 2
    may_look.set()
    await clock.next_look()
    assert posted[2:] == [PageCacheSeen(frozenset())]
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
