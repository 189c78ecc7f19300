"""How late an event loop comes back to a task that only wants to sleep: what anybody who asks the engine then has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.timings import say_timings

BEAT_S: Final = 0.001
_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
"""Nanoseconds that the thread has run, and has been ready to run without a processor: Linux's sched-stats."""


class Beat(NamedTuple):
    """One sleep of a millisecond."""

    late_s: float
    queued_s: float
    """For so long meanwhile the loop could have gone on, had it had a processor."""


@asynccontextmanager
async def heartbeat(beats: list[Beat]) -> AsyncIterator[None]:
    """Adds to `beats`, each millisecond of the block."""
    beating = asyncio.create_task(_beat(beats))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


def say_lateness(what: str, beats: Sequence[Beat]) -> None:
    """Print how late the beats were, and what is the loop's own part of that."""
    say_timings(what, [beat.late_s for beat in beats])
    say_timings("  less waiting for a processor", [max(0.0, beat.late_s - beat.queued_s) for beat in beats])


async def _beat(beats: list[Beat]) -> None:
    clock = asyncio.get_running_loop()
    while True:
        queued_before_s, began_s = _queued_s(), clock.time()
        await asyncio.sleep(BEAT_S)
        late_s = clock.time() - began_s - BEAT_S
        beats.append(Beat(late_s, _queued_s() - queued_before_s))


def _queued_s() -> float:
    return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
