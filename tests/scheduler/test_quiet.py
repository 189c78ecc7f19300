"""While somebody measures, nothing is done that no command needs; commands get all that they need."""

from __future__ import annotations

import pytest

from engine.core.commands import Load
from engine.core.devices import Health, Reading
from engine.core.policy import Policy
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.effects import KeepPeaks, ReadSlab, StopReading
from engine.scheduler.integrity import QUIET_S
from engine.scheduler.messages import DeviceRead, KeepQuiet, RunMeasured, Tick, WorkerUp
from tests.core.boxes import box, with_demand, with_reading, with_resident, with_slab
from tests.scheduler.scripted_world import World


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
    world = quiet(with_slab(with_resident(box({"a": 40, "c": 60}, {"gpu0": 100}), "c", "gpu0"), "a"))
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
