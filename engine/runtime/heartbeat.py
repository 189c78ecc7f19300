"""Signs of life of a worker: it is asked for one every second, and what it says, or for how long it says nothing, is passed on.

A worker answers on the thread that hears the engine, so one that loads, copies or runs for long answers all the same. Nothing is
decided here: what follows from silence is the scheduler's to say, and for a worker that only prepares, the slab store's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from engine.clock import Clock
from engine.core.names import ModelName
from engine.runtime.ports import WorkerHandle
from engine.worker.client import WorkerDied
from engine.worker.protocol import Ping, Pong

PING_S: Final = 1.0
"""Between two looks at a worker."""
LONGEST_LOOK_S: Final = 2.0
"""No look counts for more: where this process, or the whole machine, stood still meanwhile, the worker had no time to answer."""

Hear: TypeAlias = Callable[[float, Mapping[ModelName, float]], None]
"""Given for how many seconds the worker has been silent, 0 when it has answered, and for how many the step under way of each
model that it runs has been running."""


@asynccontextmanager
async def listening(worker: WorkerHandle, numbers: Iterator[int], clock: Clock, hear: Hear) -> AsyncIterator[None]:
    """Inside, the worker is looked at each second, and `hear` is told, until it ends. `numbers` are those of its requests."""
    looking = asyncio.create_task(_look(worker, numbers, clock, hear))
    try:
        yield
    finally:
        looking.cancel()  # not waited for: the word of a worker's end is to be the very next thing


async def _look(worker: WorkerHandle, numbers: Iterator[int], clock: Clock, hear: Hear) -> None:
    silent_s, steps, looked_s = 0.0, dict[ModelName, float](), clock.monotonic()
    answer = _asked(worker, numbers)
    try:
        while True:
            await clock.sleep(PING_S)
            passed_s = min(clock.monotonic() - looked_s, LONGEST_LOOK_S)
            looked_s = clock.monotonic()
            if not answer.done():
                silent_s += passed_s
                hear(silent_s, {})
                continue
            pong = answer.result()
            # A step is as old as the worker says, unless that is more than has passed here: both may have stood still.
            said = pong.steps if isinstance(pong, Pong) else {}
            steps = {model: min(step_s, steps.get(model, 0.0) + passed_s) for model, step_s in said.items()}
            silent_s = 0.0
            hear(silent_s, steps)
            answer = _asked(worker, numbers)
    except WorkerDied:
        return  # whoever keeps the worker says so
    finally:
        answer.cancel()


def _asked(worker: WorkerHandle, numbers: Iterator[int]) -> asyncio.Future[object]:
    return asyncio.ensure_future(worker.request(Ping(next(numbers))))
