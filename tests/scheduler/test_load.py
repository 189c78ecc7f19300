"""A load's reading, its victims' leaving and its copy go on side by side, and whatever breaks in the middle leaves nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.api import Cancelled, Declined, Done, Failed
from engine.core.commands import OWN_IDS, Evict, Load
from engine.core.devices import Reading
from engine.core.policy import Policy
from engine.core.sizes import MIB
from engine.scheduler.board import Patience
from engine.scheduler.effects import BindModel, DropSlab, KillWorker, ReadSlab, ReleaseModel, StopReading, WriteBackSlab
from engine.scheduler.messages import DeviceRead, ModelBound, SlabAdvanced, SlabFailed, WorkerUp
from engine.worker.protocol import Bound
from tests.core.boxes import box, with_resident, with_slab
from tests.scheduler.scripted_world import World


def reading() -> World:
    """A load of `a` whose slab has begun to come."""
    world = World(box({"a": 40}))
    world.submit(Load("a"))
    world.open_slab("a")
    return world


def test_the_copy_begins_while_the_slab_is_still_read() -> None:
    world = reading()

    world.expect(ReadSlab)
    world.expect(BindModel)
    assert world.where() == {"a": "gpu0 loading"}

    world.settle()
    assert world.where() == {"a": "gpu0 ready"}


def test_time_counts_as_reading_until_all_is_read_and_only_the_rest_as_copying() -> None:
    world = reading()
    world.now_s = 2.0
    world.send(SlabAdvanced("a", 0.5))
    world.now_s = 3.9
    world.perform(world.expect(ReadSlab))
    world.now_s = 4.5
    world.waiting.clear()
    world.send(ModelBound("a", "gpu0", Bound(0, copy_s=2.5, bind_s=0.1, warm_s=0.2, used_bytes=0, tail_s=0.25)))

    answer = world.answers["s1"]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    phases = answer.switch.phases
    assert (phases.read, phases.copy, phases.bind, phases.warm) == pytest.approx((4.0, 0.25, 0.05, 0.2))
    assert phases.total_s == pytest.approx(answer.switch.total_s)


def test_what_turns_out_to_have_gone_and_is_prepared_anew_counts_as_prepared_and_not_as_read() -> None:
    world = World(box({"a": 40}))
    world.submit(Load("a"))
    world.now_s = 0.5
    world.send(SlabAdvanced("a", 0.1))
    world.now_s = 4.5
    world.open_slab("a")
    world.now_s = 5.0
    world.settle()

    answer = world.answers["s1"]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    assert answer.switch.tier == "source"
    assert answer.switch.phases.prepare == pytest.approx(4.0)


def test_a_copy_behind_a_reading_teaches_nothing_of_how_fast_the_device_is() -> None:
    world = reading()
    world.settle()

    assert world.state.devices["gpu0"].copy_bytes_per_s is None
    assert not world.state.devices["gpu0"].rates.samples


def test_a_read_that_fails_in_the_middle_of_the_copy_is_tried_again() -> None:
    world = reading()
    world.fail_read("a", "the disk hiccuped")
    assert world.where() == {"a": "gpu0 loading"}

    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    assert isinstance(world.answers["s1"], Done)


def test_a_slab_that_breaks_in_the_middle_of_the_copy_fails_the_load_with_the_disks_reason() -> None:
    world = reading()
    world.send(SlabFailed("a", "broken", "slab ends 90 bytes too soon; prepare it again"))
    world.waiting.remove(world.expect(ReadSlab))
    assert not world.answers, "the worker has not let go of it yet"
    world.refuse_bind("a", "not read", "the slab did not come")

    answer = world.answers["s1"]
    assert isinstance(answer, Failed)
    assert answer.reason == "slab ends 90 bytes too soon; prepare it again"
    assert world.where() == {}


def test_a_load_that_is_taken_back_in_the_middle_stops_the_reading_and_leaves_nothing() -> None:
    world = reading()
    world.withdraw("s1")
    assert world.where() == {"a": "gpu0 loading"}, "charged until the worker has let go of it"

    world.perform(world.expect(StopReading))

    assert isinstance(world.answers["s1"], Cancelled)
    assert world.where() == {}
    assert not world.state.ram.slabs


def test_a_load_that_is_taken_back_too_late_to_stop_it_leaves_again() -> None:
    world = reading()
    world.perform(world.expect(ReadSlab))
    world.withdraw("s1")
    assert world.find(StopReading) is None
    world.settle()

    assert isinstance(world.answers["s1"], Cancelled)
    assert world.where() == {}


def test_a_worker_that_dies_in_the_middle_is_followed_by_one_that_goes_on_with_the_same_reading() -> None:
    world = reading()
    world.kill_worker("gpu0")
    assert sum(isinstance(e, ReadSlab) for e in world.waiting) == 1

    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_a_disk_that_takes_too_long_is_given_up_and_the_worker_lives() -> None:
    world = World(box({"a": 40}), patience=Patience(load_s=10.0, retries=0))
    world.submit(Load("a"))
    world.open_slab("a")
    world.pass_time(11.0)
    assert world.find(KillWorker) is None
    world.perform(world.expect(StopReading))

    answer = world.answers["s1"]
    assert isinstance(answer, Failed)
    assert answer.reason == "reading a took longer than 10 s"


def test_a_worker_that_does_not_let_go_of_a_stopped_load_is_killed() -> None:
    world = World(box({"a": 40}), patience=Patience(load_s=10.0, retries=0))
    world.submit(Load("a"))
    world.open_slab("a")
    world.pass_time(11.0)
    world.pass_time(6.0)

    world.perform(world.expect(KillWorker))

    assert isinstance(world.answers["s1"], Failed)


def test_a_reading_that_is_being_stopped_is_followed_by_nobody() -> None:
    world = World(box({"a": 40}))
    first = world.submit(Load("a"))
    world.open_slab("a")
    world.withdraw(first)
    world.refuse_bind("a", "not read", "taken back")
    second = world.submit(Load("a"))
    assert world.find(BindModel) is None

    world.settle()

    assert isinstance(world.answers[second], Done)


def test_a_slab_is_read_while_its_victim_leaves() -> None:
    world = World(with_slab(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "a"))
    world.submit(Load("b"))
    world.open_slab("b")
    assert [type(e) for e in world.waiting] == [ReadSlab, ReleaseModel]

    world.perform(world.expect(ReadSlab))
    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    world.perform(world.expect(ReleaseModel))

    world.expect(BindModel)


def test_a_load_that_is_taken_back_while_its_victim_drains_stops_its_reading_too() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(state, Policy(cpu_fallback=False), Patience(in_use_s=20.0))
    world.ask("a")
    world.ask("b")
    world.pass_time(21.0)
    world.open_slab("b")
    assert world.where() == {"a": "gpu0 draining", "b": "gpu0 pending"}
    world.withdraw(f"{OWN_IDS}request-1")

    world.expect(StopReading)
    assert world.where() == {"a": "gpu0 ready"}


def failed_while_its_victim_leaves() -> tuple[World, str]:
    """The slab of a load of `b` is found to be broken before its victim `a` has left; and the load."""
    world = World(with_slab(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "a"))
    name = world.submit(Load("b"))
    world.open_slab("b")
    world.waiting.remove(world.expect(ReadSlab))
    world.send(SlabFailed("b", "broken", "slab ends 90 bytes too soon"))
    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    return world, name


def test_a_slab_that_breaks_while_the_victim_leaves_fails_the_load_when_it_gets_to_the_slab() -> None:
    world, name = failed_while_its_victim_leaves()
    world.settle()

    answer = world.answers[name]
    assert isinstance(answer, Failed)
    assert answer.reason == "slab ends 90 bytes too soon"
    assert world.where() == {"a": "gpu0 ready"}


def test_no_load_fails_of_what_was_reported_to_one_before_it() -> None:
    world, name = failed_while_its_victim_leaves()
    world.withdraw(name)
    world.settle()
    assert isinstance(world.answers[name], Cancelled)
    again = world.submit(Load("b"))
    world.settle()

    assert isinstance(world.answers[again], Done)
    assert world.where() == {"b": "gpu0 ready"}


def test_a_slab_that_waits_for_its_device_is_not_dropped_meanwhile() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(replace(state, ram=replace(state.ram, budget_bytes=60 * MIB)))
    world.ask("a")
    world.submit(Load("b"))
    world.perform(world.expect(ReadSlab))

    assert world.find(DropSlab) is None
    assert [s.model for s in world.state.ram.slabs] == ["b"]


def test_without_room_in_the_ram_tier_a_slab_is_read_when_its_device_has_room() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(replace(state, ram=replace(state.ram, budget_bytes=MIB)))
    world.submit(Load("b"))
    assert world.find(ReadSlab) is None

    world.perform(world.expect(ReleaseModel))

    world.expect(ReadSlab)


def test_a_victims_own_copy_is_not_the_first_to_go_for_the_reading_that_displaces_it() -> None:
    state = with_resident(box({"a": 60, "b": 60, "c": 20}, {"gpu0": 100}), "a", "gpu0")
    state = with_slab(with_slab(with_resident(state, "c", "gpu0"), "a"), "c")
    world = World(replace(state, ram=replace(state.ram, budget_bytes=130 * MIB)))
    world.submit(Load("b"))

    assert [e.model for e in world.waiting if isinstance(e, DropSlab)] == ["c"]


def test_a_load_is_planned_anew_when_who_was_to_leave_stays_after_all() -> None:
    state = with_slab(
        with_resident(box({"staying": 70, "small": 15}, {"gpu0": 100}, cpu=1), "staying", "gpu0"), "small"
    )
    world = World(state)
    first = world.ask("staying")
    evict, small = world.submit(Evict("staying")), world.submit(Load("small"))
    assert world.where() == {"staying": "gpu0 draining", "small": "gpu0 pending"}

    second = world.ask("staying")
    assert isinstance(world.answers[evict], Cancelled), "the request keeps its model there"
    world.pass_time(1)
    assert small not in world.answers
    world.pass_time(2.5)

    answer = world.answers[small]
    assert isinstance(answer, Declined)
    assert "staying in use" in answer.refusal.reason
    assert world.granted == {first: "gpu0", second: "gpu0"}
    assert world.where() == {"staying": "gpu0 ready"}


def test_a_load_waits_its_turn_behind_what_another_plan_moves_and_says_whose_it_is() -> None:
    world = World(
        with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "b", "gpu0"), patience=Patience(load_s=8.0, drain_s=60.0)
    )
    lease = world.ask("b")
    world.submit(Evict("b"))
    load = world.submit(Load("a", "gpu0"))
    world.perform(world.expect(ReadSlab))
    for _ in range(4):
        world.pass_time(7.0)

    [job] = [job for job in world.scheduler.jobs(world.now_s) if job.id == load]
    assert job.waiting_for == "room for a on gpu0, where b is leaving"

    world.give_back(lease)
    world.settle()
    assert isinstance(world.answers[load], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_device_that_shows_nothing_for_too_long_is_named_with_what_is_wrong_with_it() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "b", "gpu0")
    world = World(state, patience=Patience(load_s=8.0, retries=0))
    world.send(WorkerUp("gpu0", 4711))
    load = world.submit(Load("a", "gpu0"))
    world.perform(world.expect(ReadSlab))
    world.perform(world.expect(WriteBackSlab))
    world.expect(ReleaseModel)
    world.send(DeviceRead("gpu0", Reading(health="stale", reason="the driver does not answer")))
    world.settle()
    world.pass_time(9.0)

    answer = world.answers[load]
    assert isinstance(answer, Failed)
    assert answer.reason == (
        "gpu0 is not well and was not within 8 s, so that a can't be loaded there: the driver does not answer"
    )


def test_a_device_without_room_though_nothing_moves_there_is_named_with_what_it_shows() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "b", "gpu0")
    world = World(state, patience=Patience(load_s=1.0, retries=0))
    world.send(WorkerUp("gpu0", 4711))
    load = world.submit(Load("a", "gpu0"))
    world.perform(world.expect(ReadSlab))
    world.perform(world.expect(WriteBackSlab))
    world.expect(ReleaseModel)
    world.send(DeviceRead("gpu0", Reading(health="ok", used_bytes=90 * MIB, external_bytes=70 * MIB)))
    world.settle()
    world.pass_time(1.5)

    answer = world.answers[load]
    assert isinstance(answer, Failed)
    assert answer.reason == (
        "gpu0 did not show room for a within 1 s: 30 MiB of 60 MiB are free there, and 70 MiB are held by other programs"
    )
