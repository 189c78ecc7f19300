"""The engine's books: what was asked, and memory over time; more often while models make room for others."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from engine.api import PROTOCOL, Hello, Snapshot
from engine.core.commands import Load
from engine.core.ledger import budget
from engine.core.plans import EvictStep, LoadStep, Plan
from engine.core.records import Notice, Phases, Switch
from engine.core.state import answered
from engine.recording.demand import DEMAND_FILE, DemandLog, own_demand
from engine.recording.files import Bounds
from engine.recording.journal import Journal
from engine.recording.memory import MEMORY_FILE, EngineFacts, MemoryLog, Sample, recorded_memory
from engine.runtime.history import History
from engine.runtime.recorder import Pace, Recorder
from tests.core.boxes import NOW_S, box, with_resident

HELLO = Hello(PROTOCOL, "0.1.0", "test-box", 1, NOW_S, "/etc/citadel", "scripted")
PACE = Pace(quiet_s=30.0, pressed_s=1.0)


class PassingClock:
    """Time that passes when somebody sleeps, at once, and stands still at its end."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.ends_s = 0.0
        self.ended = asyncio.Event()

    def now(self) -> float:
        return NOW_S + self.passed_s

    def monotonic(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        if self.passed_s >= self.ends_s:
            self.ended.set()
            await asyncio.Event().wait()
        self.passed_s += seconds
        await asyncio.sleep(0)


class Books:
    """A recorder whose engine has one model on each GPU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = PassingClock()
        bounds = Bounds(1 << 20, 2)
        self.history = History(Journal(folder, bounds), [], self.clock)
        demand, memory = DemandLog(folder, bounds), MemoryLog(folder, bounds)
        self.recorder = Recorder(demand, memory, self.history, self.clock, PACE)
        self.state = with_resident(with_resident(box({"a": 30, "b": 50}), "a", "gpu0"), "b", "gpu1", leases=2)

    async def kept(self, seconds: float) -> None:
        """Run for `seconds`, and write all that there is."""
        self.clock.ends_s = seconds

        async def snapshot() -> Snapshot:
            budgets = {device: budget(self.state, device) for device in self.state.devices}
            return Snapshot(1, self.clock.now(), self.state, budgets=budgets)

        running = asyncio.create_task(self.recorder.run(HELLO, snapshot))
        await self.clock.ended.wait()
        await self.recorder.written()
        running.cancel()
        await asyncio.wait([running])

    @property
    def samples(self) -> list[Sample]:
        return [line for line in recorded_memory(self.folder).values if isinstance(line, Sample)]


def eviction(at_s: float) -> Switch:
    """A switch at `at_s` that took a victim off."""
    steps = (EvictStep("a", "gpu0", 1), LoadStep("b", "gpu0", 1, "ram"))
    return Switch("1", Plan(Load("b"), steps, ()), "request", at_s, 0.2, Phases(copy=0.2), tier="ram")


async def test_a_sample_is_written_each_interval_with_what_every_device_holds(tmp_path: Path) -> None:
    books = Books(tmp_path)
    await books.kept(90.0)

    assert [round(later.at_s - earlier.at_s) for earlier, later in pairwise(books.samples)] == [30, 30, 30]
    gpu1 = books.samples[0].devices[1]
    assert (gpu1.id, gpu1.health, gpu1.models_bytes, gpu1.budget_bytes, gpu1.leases) == (
        "gpu1",
        "ok",
        50 << 20,
        80 << 20,
        2,
    )


async def test_a_sample_says_who_answered_since_the_one_before(tmp_path: Path) -> None:
    books = Books(tmp_path)
    await books.kept(30.0)
    assert [[device.answered for device in sample.devices[:2]] for sample in books.samples] == [[(), ("b",)]] * 2

    (resident, _) = books.state.residents
    ready = replace(resident, since_s=NOW_S, idle_since_s=NOW_S)
    assert not answered(ready, NOW_S - 30)
    assert answered(replace(ready, idle_since_s=NOW_S + 10), NOW_S)
    assert not answered(replace(ready, idle_since_s=NOW_S + 10), NOW_S + 30)
    assert answered(replace(ready, idle_since_s=None, leases=1), NOW_S + 30)


async def test_the_samples_begin_with_what_they_were_taken_on(tmp_path: Path) -> None:
    await Books(tmp_path).kept(0.0)

    facts = next(iter(recorded_memory(tmp_path).values))
    assert isinstance(facts, EngineFacts)
    assert (facts.hello, facts.interval_s) == (HELLO, 30.0)
    assert [device.id for device in facts.devices] == ["gpu0", "gpu1", "cpu"]
    assert [model.name for model in facts.models] == ["a", "b"]


async def test_while_models_make_room_for_others_every_reading_is_written(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.history.add(eviction(NOW_S))
    await books.kept(150.0)

    steps_s = [round(later.at_s - earlier.at_s) for earlier, later in pairwise(books.samples)]
    assert steps_s[:60] == [1] * 60
    assert set(steps_s[61:]) == {30}


async def test_an_eviction_before_the_clock_was_set_back_presses_nobody_until_it_is_that_late_again(
    tmp_path: Path,
) -> None:
    books = Books(tmp_path)
    books.history.add(eviction(NOW_S + 3600))
    await books.kept(90.0)
    assert [round(later.at_s - earlier.at_s) for earlier, later in pairwise(books.samples)] == [30, 30, 30]


async def test_an_eviction_in_a_quiet_time_ends_it_at_once(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.clock.passed_s = 10.0
    recording = asyncio.create_task(books.kept(12.0))
    await asyncio.sleep(0)
    books.history.add(eviction(NOW_S + 10.0))
    await recording

    assert books.samples[1].at_s - books.samples[0].at_s <= 2.0


async def test_requests_are_written_as_they_came(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.recorder.asked("a", 16)
    books.clock.passed_s = 4.0
    books.recorder.asked("b", 1)
    await books.kept(4.0)

    assert [(r.at_s, r.model, r.work) for r in own_demand(tmp_path).requests] == [(0, "a", 16), (4, "b", 1)]


async def test_what_cannot_be_recorded_is_told_once_each_and_recording_goes_on(tmp_path: Path) -> None:
    books = Books(tmp_path)
    for name in (DEMAND_FILE, MEMORY_FILE):
        (tmp_path / name).mkdir()
    for _ in range(3):
        books.recorder.asked("a", 1)
    await books.kept(90.0)

    told = [record.entry.text for record in books.history.newest(10) if isinstance(record.entry, Notice)]
    assert len(told) == 2
    assert any("requests are not recorded" in text for text in told)
    assert any("the devices' memory is not recorded" in text for text in told)
