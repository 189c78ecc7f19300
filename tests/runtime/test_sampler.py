"""How often devices are read: seldom while somebody measures, and at once again when something depends on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.api import Updated
from engine.client import connect
from engine.clock import SystemClock
from engine.core.devices import DeviceSpec
from engine.core.sizes import MIB
from engine.devices.control_groups import MemoryLimit
from engine.devices.host import SPARED_BYTES, HostMemory
from engine.devices.nvml import NvmlProbe
from engine.devices.readings import CardReader
from engine.paths import Paths
from engine.runtime.sampler import Rest, Sampler
from engine.runtime.workers import Workers
from engine.scheduler.messages import DeviceRead, HostRead, Message
from tests.runtime.live_engines import scripted_engine
from tests.runtime.scripted_workers import ScriptedSpawner
from tests.service.serving import serving


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
        if isinstance(message, DeviceRead):
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


GROUP = MemoryLimit(1300 * MIB, 1000 * MIB, "/sys/fs/cgroup/job", "memory.max")


async def test_the_cpu_counts_on_what_is_left_and_whatever_a_slab_passes_through_on_half_of_it() -> None:
    clock, found = ShortClock(0.5), list[Message]()
    gpu = DeviceSpec("gpu0", "virtual GPU in host RAM", "gpu", "ram", 640 * MIB, 0.8)
    specs = {"gpu0": gpu, "cpu": DeviceSpec("cpu", "CPU", "cpu", "host", 600 * MIB, 1.0)}
    left = HostMemory(1300 * MIB, SPARED_BYTES + 300 * MIB, GROUP)
    sampler = Sampler(specs, CardReader(NvmlProbe(clock), {}), clock, 1.0, lambda: left)
    workers = Workers({}, ScriptedSpawner(), clock, found.append)
    workers.used_bytes |= {"gpu0": 100 * MIB, "cpu": 0}
    with pytest.raises(Over):
        await sampler.run(workers, found.append, Rest(lambda: False))
    external = {one.device: one.reading.external_bytes for one in found if isinstance(one, DeviceRead)}
    assert external == {"gpu0": (640 - 100 - 150) * MIB, "cpu": (600 - 300) * MIB}
    assert found[-1] == HostRead(150 * MIB)


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
