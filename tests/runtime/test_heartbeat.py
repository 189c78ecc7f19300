"""Signs of life, on a clock that the test moves: who is silent, who is only slow, and what a machine that stood still is not
blamed for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import pytest

from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.plans import Tier
from engine.core.tasks import TaskPart
from engine.runtime.heartbeat import PING_S, listening
from engine.runtime.slab_store import FetchReports, PassingFailure, SlabStore
from engine.runtime.workers import START_DEADLINE_S, Workers
from engine.scheduler.messages import Message, SignOfLife, WorkerDown, WorkerUp
from engine.weights.arena import Arena
from engine.weights.shared_memory import Region
from engine.weights.sources import resolve
from engine.worker.client import WorkerDied
from engine.worker.protocol import ArenaSize, Ping, Pong, Reply, Request, WorkerConfig, WorkerNews
from tests.hand_clock import HandClock

GPU0 = WorkerConfig("gpu0", "ram", 0, ArenaSize(0))


class Sleeper:
    """A worker that answers each ping at once, or when it wakes up."""

    def __init__(self) -> None:
        self.pid = 4711
        self.steps: dict[ModelName, float] = {}
        self._asleep: asyncio.Future[None] | None = None
        self._death: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def request(
        self,
        request: Request,
        on_advance: Callable[[float], None] = lambda _: None,
        on_part: Callable[[TaskPart], None] = lambda _: None,
    ) -> Reply:
        if self._asleep is not None:
            await self._asleep
        assert isinstance(request, Ping)
        return Pong(request.id, dict(self.steps))

    def falls_asleep(self) -> None:
        self._asleep = asyncio.get_running_loop().create_future()

    def wakes_up(self) -> None:
        assert self._asleep is not None
        self._asleep.set_result(None)

    def tell(self, news: WorkerNews) -> None: ...

    async def died(self) -> str:
        return await asyncio.shield(self._death)

    def kill(self) -> None:
        if not self._death.done():
            self._death.set_result("killed by SIGKILL")
            if self._asleep is not None and not self._asleep.done():
                self._asleep.set_exception(WorkerDied("killed by SIGKILL"))

    async def close(self) -> None:
        self.kill()


class Deaf(FetchReports):
    """Follows a fetch, and does nothing."""

    def prepared(self, done: float) -> None: ...

    def opened(self, tier: Tier, region: Region) -> None: ...

    def grew(self, read_bytes: int) -> None: ...


class Listener:
    """What was heard, look by look."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, dict[ModelName, float]]] = []

    def __call__(self, silent_s: float, steps: Mapping[ModelName, float]) -> None:
        self.heard.append((silent_s, dict(steps)))


async def test_a_worker_that_answers_is_silent_for_no_time() -> None:
    clock, listener = HandClock(), Listener()
    async with listening(Sleeper(), count(1), clock, listener):
        await clock.somebody_sleeps()
        for _ in range(3):
            await clock.jumps_over_a_sleep(PING_S)
    assert listener.heard == [(0.0, {})] * 3


async def test_silence_is_counted_until_the_worker_answers_again() -> None:
    clock, listener, worker = HandClock(), Listener(), Sleeper()
    async with listening(worker, count(1), clock, listener):
        await clock.somebody_sleeps()
        await clock.jumps_over_a_sleep(PING_S)
        worker.falls_asleep()
        for _ in range(4):
            await clock.jumps_over_a_sleep(PING_S)
        worker.wakes_up()
        await clock.jumps_over_a_sleep(PING_S)
    # The ping that was out when it fell silent had been answered.
    assert [silent_s for silent_s, _ in listener.heard] == [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]


async def test_a_machine_that_stood_still_is_no_silence_of_the_worker() -> None:
    clock, listener, worker = HandClock(), Listener(), Sleeper()
    worker.falls_asleep()
    async with listening(worker, count(1), clock, listener):
        await clock.somebody_sleeps()
        await clock.jumps_over_a_sleep(3600.0)
    assert [silent_s for silent_s, _ in listener.heard] == [2.0]


async def test_a_step_ages_with_the_time_that_passes_here_and_anew_for_each_step() -> None:
    clock, listener, worker = HandClock(), Listener(), Sleeper()
    async with listening(worker, count(1), clock, listener):
        await clock.somebody_sleeps()
        # Its age is what the worker says, but no more than has passed: here it claims an hour within a second.
        for step_s in (0.4, 1.4, 3600.0, 0.1):
            worker.steps = {"m": step_s}
            await clock.jumps_over_a_sleep(PING_S)
            await clock.jumps_over_a_sleep(PING_S)
    ages = [steps.get("m", 0.0) for _, steps in listener.heard]
    assert ages == pytest.approx([0.0, 0.4, 0.4, 1.4, 1.4, 2.4, 3.4, 0.1])


async def test_a_device_s_signs_of_life_are_posted_from_its_birth_to_its_death() -> None:
    clock, worker = HandClock(), Sleeper()
    posted: asyncio.Queue[Message] = asyncio.Queue()

    class Spawner:
        async def spawn(self, config: WorkerConfig) -> Sleeper:
            return worker

        async def close(self) -> None: ...

    workers = Workers({"gpu0": GPU0}, Spawner(), clock, posted.put_nowait)
    keeping = asyncio.create_task(workers.keep("gpu0", 0.0))
    assert await posted.get() == WorkerUp("gpu0", 4711)
    await clock.somebody_sleeps()
    worker.falls_asleep()
    for silent_s in (0.0, 1.0):
        await clock.jumps_over_a_sleep(PING_S)
        assert await posted.get() == SignOfLife("gpu0", silent_s)
    worker.kill()
    assert await posted.get() == WorkerDown("gpu0", "was killed by SIGKILL")
    await keeping
    assert posted.empty()


async def test_a_worker_that_never_says_it_is_ready_is_given_up() -> None:
    clock = HandClock()
    posted: asyncio.Queue[Message] = asyncio.Queue()
    given_up = asyncio.Event()

    class Spawner:
        async def spawn(self, config: WorkerConfig) -> Sleeper:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            raise AssertionError

        async def close(self) -> None: ...

    workers = Workers({"gpu0": GPU0}, Spawner(), clock, posted.put_nowait)
    keeping = asyncio.create_task(workers.keep("gpu0", 0.0))
    await clock.somebody_sleeps()
    passing = asyncio.create_task(clock.jumps_over_a_sleep(START_DEADLINE_S))
    assert await posted.get() == WorkerDown("gpu0", "did not start: it was not ready within 180 s")
    await keeping
    await given_up.wait()
    passing.cancel()


async def test_a_worker_that_hangs_while_it_prepares_ends_the_fetch_in_words(tmp_path: Path) -> None:
    clock, worker = HandClock(), Sleeper()

    class Spawner:
        async def spawn(self, config: WorkerConfig) -> Sleeper:
            worker.falls_asleep()
            return worker

        async def close(self) -> None: ...

    spec = ModelSpec("m", ("synthetic:e5-small",), "embedding")
    source = resolve(spec, tmp_path)
    store = SlabStore({"m": spec}, {"m": source}, tmp_path, Arena(1 << 20), Spawner(), clock, not_answering_s=3.0)
    fetching = asyncio.create_task(store.fetch("m", Deaf()))
    await clock.somebody_sleeps()
    for _ in range(3):
        assert not fetching.done()
        passing = asyncio.create_task(clock.jumps_over_a_sleep(PING_S))
        await asyncio.wait({passing, fetching}, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(PassingFailure, match="the worker that prepared m gave no sign of life for 3 s and was ended"):
        await fetching
    passing.cancel()
    store.close()
