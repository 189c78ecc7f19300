"""Where requests come to: the scheduler and the workers, both scripted, on a clock that stands until the test says so."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Continuation, Generate, RunEvent, RunResult, Task, TaskPart, TaskResult
from engine.runtime.requests import Runs
from engine.runtime.workers import Running
from engine.scheduler.messages import LeaseAsked, LeaseEnded, Message
from engine.settings.schema import RequestDeadlines
from engine.worker.protocol import Failure, Reply, RunEnded
from tests.hand_clock import HandClock

GENERATION_S: Final = 600.0
ANSWER: Final = RunEnded(1, Continuation("abc", 3), device_s=0.5)
LEFT: Final = Failure(1, "left", "nobody waited for it any more")


class OnWorker(Struct, eq=False):
    """A run as its worker sees it."""

    reply: asyncio.Future[Reply]
    say: Callable[[TaskPart], None]
    times_left: int = 0

    def leave(self) -> None:
        self.times_left += 1


class Desk:
    """Where requests come to: it notes what is posted, and plays the scheduler and the workers as the test says."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.posted: list[Message] = []
        self.on_workers: list[OnWorker] = []
        """Runs in the order in which they began."""
        self.has_begun = asyncio.Event()
        """Set when one has."""
        self._numbers = itertools.count(1)
        self.runs = Runs(
            self.posted.append, self._run, self.clock, RequestDeadlines(), lambda _: "it waited for a place"
        )

    def _run(self, device: DeviceId, model: ModelName, task: Task, say: Callable[[TaskPart], None]) -> Running:
        run = OnWorker(asyncio.get_running_loop().create_future(), say)
        self.on_workers.append(run)
        self.has_begun.set()
        return Running(run.reply, run.leave)

    def ask(self, task: Task | None = None) -> asyncio.Task[list[RunEvent]]:
        return asyncio.create_task(self._answer(task or Generate("a")))

    async def _answer(self, task: Task) -> list[RunEvent]:
        events = self.runs.run(next(self._numbers), "a", task, as_result)
        try:
            return [event async for event in events]
        finally:
            await events.aclose()

    @property
    def asked(self) -> list[LeaseAsked]:
        return [message for message in self.posted if isinstance(message, LeaseAsked)]

    @property
    def ended(self) -> Counter[int]:
        return Counter(message.lease for message in self.posted if isinstance(message, LeaseEnded))

    async def granted(self, device: DeviceId = "gpu0") -> OnWorker:
        """The newest lease begins, and its run."""
        await turns()
        self.runs.granted(self.asked[-1].lease, device)
        await turns()
        return self.on_workers[-1]

    def check_nothing_is_left(self) -> None:
        assert self.ended == Counter(message.lease for message in self.asked)
        assert asyncio.all_tasks() == {asyncio.current_task()}


def as_result(device: DeviceId, result: TaskResult) -> RunResult:
    return RunResult("a", device, result, 0.0)


async def turns(count: int = 12) -> None:
    """Let whoever can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)
