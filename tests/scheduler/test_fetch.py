"""Victims stay, and answer, while the weights that come for their place are prepared and read."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.api import Cancelled, Done, Failed
from engine.core.commands import Load
from engine.core.prediction import Rates
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.effects import BindModel, DropSlab, ReadSlab, ReleaseModel, StopReading
from engine.scheduler.messages import SlabFailed, SlabOpened, SlabRead
from tests.core.boxes import box, with_demand, with_resident, with_slab
from tests.scheduler.scripted_world import World


def full_gpu(**sizes: int) -> State:
    """`a` is ready on the only GPU and rests in RAM too; reading `b` takes 6 s, a copy next to nothing, leaving nothing."""
    state = with_slab(with_resident(box({"a": 60, "b": 60, **sizes}, {"gpu0": 100}), "a", "gpu0"), "a")
    return replace(state, disk=Rates(guess_bytes_per_s=10 * MIB, overhead_s=0.0))


def test_a_victim_leaves_when_the_rest_of_the_reading_takes_no_longer_than_its_leaving_and_the_copy() -> None:
    world = World(full_gpu())
    world.submit(Load("b"))
    world.open_slab("b")
    world.pass_time(5.6)
    assert world.where() == {"a": "gpu0 ready"}

    world.pass_time(0.1)
    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    world.expect(ReleaseModel)


def test_a_victim_answers_requests_while_its_place_is_wanted() -> None:
    world = World(full_gpu())
    world.submit(Load("b"))
    lease = world.ask("a")
    assert world.granted == {lease: "gpu0"}


def test_no_victim_leaves_while_a_model_is_prepared_however_long_that_takes() -> None:
    state = full_gpu()
    world = World(replace(state, models={**state.models, "b": replace(state.models["b"], prepared=False)}))
    name = world.submit(Load("b"))
    world.pass_time(100)
    assert world.where() == {"a": "gpu0 ready"}

    world.waiting.remove(world.expect(ReadSlab))
    world.send(SlabOpened("b", "source", 60 * MIB))
    world.pass_time(1)
    world.send(SlabRead("b", "source", 60 * MIB))
    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    world.settle()

    answer = world.answers[name]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    assert (answer.switch.tier, [step.tier for step in answer.plan.loads]) == ("source", ["source"])
    assert answer.switch.phases.prepare == pytest.approx(100)
    assert answer.switch.phases.read == pytest.approx(1)


def test_weights_that_can_not_be_read_cost_nobody_its_place() -> None:
    world = World(full_gpu())
    name = world.submit(Load("b"))
    world.waiting.remove(world.expect(ReadSlab))
    world.send(SlabFailed("b", "broken", "slab ends 90 bytes too soon"))

    answer = world.answers[name]
    assert isinstance(answer, Failed)
    assert answer.reason == "slab ends 90 bytes too soon"
    assert world.where() == {"a": "gpu0 ready"}
    assert world.waiting == []


def test_a_reading_that_may_succeed_the_second_time_is_tried_again() -> None:
    world = World(full_gpu())
    name = world.submit(Load("b"))
    world.fail_read("b", "the disk coughed")
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert world.where() == {"b": "gpu0 ready"}


def test_a_load_that_is_taken_back_while_it_reads_leaves_all_as_it_was() -> None:
    world = World(full_gpu())
    name = world.submit(Load("b"))
    world.withdraw(name)
    world.perform(world.expect(StopReading))

    assert isinstance(world.answers[name], Cancelled)
    assert world.where() == {"a": "gpu0 ready"}
    assert [slab.model for slab in world.state.ram.slabs] == ["a"]


def test_a_reading_that_takes_too_long_is_given_up_before_anybody_left() -> None:
    world = World(full_gpu())
    name = world.submit(Load("b"))
    world.pass_time(121)
    world.expect(StopReading)

    answer = world.answers[name]
    assert isinstance(answer, Failed)
    assert answer.reason == "reading b took longer than 120 s"
    assert world.where() == {"a": "gpu0 ready"}


def test_who_leaves_is_decided_when_the_weights_have_come() -> None:
    state = full_gpu(c=15)
    world = World(with_resident(replace(state, models=state.models | box({"b": 20}).models), "c", "gpu0"))
    world.submit(Load("b"), origin="request")
    leases = [world.ask("c") for _ in range(3)]
    world.perform(world.expect(ReadSlab))

    assert world.where() == {"a": "gpu0 leaving", "c": "gpu0 ready", "b": "gpu0 pending"}
    assert set(leases) == set(world.granted)


def test_a_victims_own_copy_is_not_the_first_to_go_for_the_reading_that_it_waits_for() -> None:
    state = with_slab(with_resident(full_gpu(c=15), "c", "gpu0"), "c")
    state = with_demand(replace(state, ram=replace(state.ram, budget_bytes=130 * MIB, max_models=9)), "c", 9.0)
    world = World(state)
    world.submit(Load("b"))

    assert [e.model for e in world.waiting if isinstance(e, DropSlab)] == ["c"], "though it is asked for more than a"


def test_a_load_into_free_room_waits_for_nothing() -> None:
    state = box({"b": 60}, {"gpu0": 100})
    world = World(replace(state, disk=Rates(guess_bytes_per_s=10 * MIB)))
    world.submit(Load("b"))
    world.open_slab("b")
    world.expect(BindModel)


def test_two_loads_that_want_one_place_have_their_weights_read_one_after_the_other() -> None:
    world = World(full_gpu(c=60))
    first, second = world.ask("b"), world.ask("c")
    world.settle()
    assert world.granted == {first: "gpu0"}
    world.give_back(first)
    world.pass_time(3)
    world.settle()

    assert world.granted == {first: "gpu0", second: "gpu0"}
