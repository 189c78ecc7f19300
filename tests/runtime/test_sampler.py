"""While somebody measures, the engine reads its devices now and then and does no idle work; commands get all that they need."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.api import Updated
from engine.client import connect
from engine.core.commands import Load
from engine.core.devices import DeviceSpec, Health, Reading
from engine.core.policy import Policy
from engine.core.sizes import MIB
from engine.core.state import State
from engine.devices.nvml import NvmlProbe
from engine.devices.readings import CardReader
from engine.paths import Paths
from engine.runtime.ports import SystemClock
from engine.runtime.sampler import Rest, Sampler
from engine.runtime.workers import Workers
from engine.scheduler.effects import KeepPeaks, ReadSlab, StopReading
from engine.scheduler.integrity import QUIET_S
from engine.scheduler.messages import DeviceRead, KeepQuiet, Message, RunMeasured, Tick, WorkerUp
from tests.core.boxes import box, with_demand, with_reading, with_resident, with_slab
from tests.runtime.scripted_engine import scripted_engine
from tests.runtime.scripted_workers import ScriptedSpawner
from tests.scheduler.scripted_world import World
from tests.service.serving import serving


def quiet(state: State, for_s: float = 15.0) -> World:
    world = World(state)
    world.send(KeepQuiet(for_s))
    return world


def may_rest(world: World) -> bool:
    return world.scheduler.may_rest(world.now_s)


# ── idle work ────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_read_ahead_in_the_quiet_and_what_was_begun_is_given_up() -> None:
    wanted = with_demand(box({"a": 40, "b": 40}), "a", 5.0)
    assert quiet(wanted).find(ReadSlab) is None

    world = World(wanted)
    world.send(Tick())
    world.expect(ReadSlab)
    world.send(KeepQuiet(15.0))
    world.expect(StopReading)


def test_no_slab_is_checked_in_the_quiet_and_a_check_under_way_is_stopped() -> None:
    resting = with_slab(box({"a": 40}), "a")
    assert quiet(resting).checking is None

    world = World(resting)
    world.send(Tick())
    assert world.checking == "a"
    world.send(KeepQuiet(15.0))
    assert world.check_is_stopped


def test_runs_in_the_quiet_teach_nothing() -> None:
    world = quiet(box({"a": 20}))
    world.send(RunMeasured("a", "gpu0", 10 * MIB, 1.0))
    assert world.find(KeepPeaks) is None
    world.send(KeepQuiet(0.0))
    world.send(RunMeasured("a", "gpu0", 10 * MIB, 1.0))
    world.expect(KeepPeaks)


def test_idle_work_goes_on_by_itself_when_nobody_asks_for_quiet_any_more() -> None:
    world = quiet(with_slab(box({"a": 40}), "a"))
    world.pass_time(14)
    world.send(KeepQuiet(15.0))
    world.pass_time(14)
    assert world.scheduler.is_quiet(world.now_s)
    world.pass_time(1)
    assert not world.scheduler.is_quiet(world.now_s)
    world.pass_time(QUIET_S)
    assert world.checking == "a"


def test_nobody_gets_more_than_a_minute_of_quiet_at_once() -> None:
    world = quiet(box({"a": 40}), for_s=1e9)
    world.pass_time(59)
    assert world.scheduler.is_quiet(world.now_s)
    world.pass_time(1)
    assert not world.scheduler.is_quiet(world.now_s)


# ── readings ─────────────────────────────────────────────────────────────────────────────────────


def test_readings_rest_only_in_the_quiet() -> None:
    world = World(box({"a": 40}))
    assert not may_rest(world)
    world.send(KeepQuiet(15.0))
    assert may_rest(world)


def taken(mib: int) -> DeviceRead:
    """Others hold so much of gpu0."""
    return DeviceRead("gpu0", Reading("ok", "", mib * MIB, mib * MIB))


def test_a_load_that_waits_for_room_has_readings_as_ever_until_it_has_room() -> None:
    world = quiet(with_resident(box({"a": 40, "c": 60}, {"gpu0": 100}), "c", "gpu0"))
    world.send(WorkerUp("gpu0", 4711))
    world.submit(Load("a", "gpu0"))
    assert may_rest(world), "it waits for the worker, not for a reading"

    world.send(taken(70))
    world.settle()
    assert world.where() == {"a": "gpu0 pending"}
    assert not may_rest(world)

    world.send(taken(0))
    world.settle()
    assert world.where() == {"a": "gpu0 ready"}
    assert may_rest(world)


def test_a_request_that_waits_in_the_queue_has_readings_as_ever() -> None:
    world = World(with_resident(box({"a": 40, "c": 60}, {"gpu0": 100}), "c", "gpu0"), Policy(cpu_fallback=False))
    running = world.ask("c")
    world.send(KeepQuiet(15.0))
    world.ask("a")
    assert not may_rest(world)
    world.give_back(running)
    world.settle()
    assert may_rest(world)


@pytest.mark.parametrize("health", ["starting", "stale", "lost"])
def test_a_device_that_is_not_well_is_read_as_ever(health: Health) -> None:
    state = with_reading(box({"a": 40}), "gpu0", Reading(health, "why"))
    assert not may_rest(quiet(state))


class Over(Exception):
    """The test's time is over."""


class ShortClock(SystemClock):
    """Time that passes only in sleep, at once, until it is over."""

    def __init__(self, ends_s: float) -> None:
        self.passed_s = 0.0
        self._ends_s = ends_s

    def monotonic(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        if self.passed_s >= self._ends_s:
            raise Over


async def readings_s(rests: set[int], interval_s: float = 1.0, ends_s: float = 30.0) -> list[float]:
    """When a device is read of which readings may rest in the seconds `rests`."""
    clock, found = ShortClock(ends_s), list[float]()

    def post(message: Message) -> None:
        found.append(clock.passed_s)

    spec = DeviceSpec("gpu0", "virtual GPU in host RAM", "gpu", "ram", 100 * MIB, 0.8)
    sampler = Sampler({"gpu0": spec}, CardReader(NvmlProbe(clock), {}), clock, interval_s)
    workers = Workers({}, ScriptedSpawner(), clock, post)
    workers.used_bytes["gpu0"] = 0
    with pytest.raises(Over):
        await sampler.run(workers, post, Rest(lambda: clock.passed_s in rests))
    return found


async def test_a_resting_sampler_reads_every_ten_seconds() -> None:
    assert await readings_s(set(range(30))) == [0, 10, 20]
    assert len(await readings_s(set())) == 30


async def test_whoever_needs_a_reading_gets_it_when_it_would_have_come_anyway() -> None:
    assert await readings_s(set(range(30)) - {14, 15}) == [0, 10, 14, 15, 25]


async def test_a_sampler_that_is_slower_than_that_stays_as_slow() -> None:
    assert await readings_s(set(range(60)), interval_s=20.0, ends_s=60.0) == [0, 20, 40]


class StandingClock(SystemClock):
    """Time stands still, and whoever sleeps does so for ever."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_whoever_rests_hears_at_once_that_the_rest_is_over() -> None:
    needed: list[str] = []
    rest = Rest(lambda: not needed)
    resting = asyncio.create_task(rest.sleep(StandingClock(), 1.0))
    rest.look_again()
    await asyncio.sleep(0)
    assert not resting.done()
    needed.append("a load waits for room")
    rest.look_again()
    await resting


# ── the whole engine ─────────────────────────────────────────────────────────────────────────────


class AheadClock(SystemClock):
    """The machine's clock, put forward by the test."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def test_an_engine_whose_benchmark_has_died_goes_on_as_before(tmp_path: Path) -> None:
    paths, clock = Paths(tmp_path / "run", tmp_path / "state", tmp_path / "cache"), AheadClock()
    async with scripted_engine(tmp_path, engine_clock=clock) as box, serving(box.engine, paths):
        client = await connect(paths)
        await client.keep_quiet(15)
        async for event in client.events():
            if isinstance(event, Updated) and event.snapshot.quiet_sample_s:
                break
        clock.ahead_s = 16
        assert (await client.snapshot()).quiet_sample_s is None
