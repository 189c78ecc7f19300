"""What is read ahead while nothing else is under way, and whose copy goes when the RAM tier is full."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.api import Done
from engine.core.commands import Load
from engine.core.records import Switch
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.effects import DropSlab, ReadSlab, StopReading
from engine.scheduler.messages import PageCacheSeen, SlabFailed, SlabRead, Tick
from tests.core.boxes import box, with_demand, with_resident, with_slab
from tests.scheduler.scripted_world import World


def wanted() -> State:
    """`a` rests on disk and is asked for; `b` has never been asked for."""
    return with_demand(box({"a": 40, "b": 40}), "a", 5.0)


def reads(world: World) -> list[str]:
    return [e.model for e in world.waiting if isinstance(e, ReadSlab)]


def test_the_most_wanted_slab_is_read_while_nothing_else_is_under_way() -> None:
    world = World(wanted())
    world.send(Tick())
    assert reads(world) == ["a"]

    world.settle()

    assert [s.model for s in world.state.ram.slabs] == ["a"]
    assert world.where() == {}


def test_a_load_of_another_model_comes_first_and_the_reading_begins_again_after_it() -> None:
    world = World(wanted())
    world.send(Tick())
    world.submit(Load("b"))
    assert sum(isinstance(e, StopReading) for e in world.waiting) == 1
    world.perform(world.expect(StopReading))
    assert reads(world) == ["b"]

    world.perform(world.expect(ReadSlab))
    world.settle()

    assert sorted(s.model for s in world.state.ram.slabs) == ["a", "b"]
    assert world.where() == {"b": "gpu0 ready"}


def test_a_load_of_the_model_itself_goes_on_with_the_reading_under_way() -> None:
    world = World(wanted())
    world.send(Tick())
    world.open_slab("a")
    world.submit(Load("a"))
    assert world.find(StopReading) is None
    assert reads(world) == ["a"]

    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_a_slab_that_can_not_be_read_ahead_is_left_to_the_load_that_will_say_why() -> None:
    world = World(wanted())
    world.send(Tick())
    world.waiting.clear()
    world.send(SlabFailed("a", "broken", "damaged"))
    world.send(Tick())
    assert reads(world) == []

    world.submit(Load("a"))
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_what_can_not_have_room_is_not_read_ahead() -> None:
    state = wanted()
    world = World(replace(state, ram=replace(state.ram, budget_bytes=state.models["a"].footprint.weights_bytes - 1)))
    world.send(Tick())
    assert reads(world) == []
    assert world.find(DropSlab) is None


def full() -> World:
    """Room for one slab, which nobody asks for, and another one is asked for."""
    return World(with_slab(replace(wanted(), ram=replace(wanted().ram, max_models=1)), "b"))


def test_a_slab_that_is_worth_less_leaves_for_what_is_read_ahead_and_counts_as_let_go() -> None:
    world = full()
    world.send(Tick())
    assert world.expect(DropSlab).model == "b"
    assert world.expect(ReadSlab) == ReadSlab("a", ahead=True)

    world.settle()

    assert [s.model for s in world.state.ram.slabs] == ["a"]
    assert world.state.ram.displaced == 1


def test_a_slab_says_why_it_was_read_ahead_until_it_is_loaded_from() -> None:
    world = full()
    world.send(Tick())
    world.open_slab("a")
    [slab] = world.state.ram.slabs
    assert slab.ahead == "it is asked for, and no copy has had to leave yet for want of room, b left for it"

    world.settle()
    assert world.state.ram.slabs[0].ahead == slab.ahead
    world.submit(Load("a"))
    world.settle()
    assert world.state.ram.slabs[0].ahead == ""


def test_a_load_that_waits_for_the_rest_of_a_reading_is_measured_against_the_rest() -> None:
    known = wanted()
    gpu = replace(known.devices["gpu0"], copy_bytes_per_s=4000 * MIB)
    world = World(replace(known, devices={**known.devices, "gpu0": gpu}))
    world.send(Tick())
    world.open_slab("a")
    world.now_s = 3.0
    name = world.submit(Load("a", "gpu0"))
    world.now_s = 3.9
    world.settle()

    answer = world.answers[name]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    assert answer.switch.reading_s == pytest.approx(4.0)
    assert answer.switch.phases.read == pytest.approx(1.0)
    assert answer.switch.floor_s == pytest.approx(1.0)
    assert world.state.disk_bytes_per_s == pytest.approx(10 * MIB)


def test_the_ram_tier_lets_copies_of_gpu_residents_go_first() -> None:
    state = box({"resting": 10, "on-gpu": 10, "new": 10}, max_models=2)
    state = with_slab(with_slab(with_resident(state, "on-gpu", "gpu0"), "resting"), "on-gpu")
    world = World(with_demand(state, "on-gpu", 100))
    world.submit(Load("new"))
    world.settle()

    assert {s.model for s in world.state.ram.slabs} == {"resting", "new"}


def test_with_an_empty_ram_tier_models_still_load() -> None:
    world = World(box({"a": 10}, max_models=0))
    name = world.submit(Load("a"))
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert world.state.ram.slabs == ()


def test_what_the_page_cache_holds_is_known_and_a_switch_says_that_it_was_read_from_there() -> None:
    world = World(box({"a": 40, "b": 10}))
    world.send(PageCacheSeen(frozenset({"a"})))
    assert [name for name, known in world.state.models.items() if known.in_page_cache] == ["a"]
    world.submit(Load("a"))
    world.waiting.remove(world.expect(ReadSlab))
    world.send(SlabRead("a", "disk", 40 * MIB, from_page_cache=True))
    world.settle()
    assert [e.from_page_cache for e in world.written if isinstance(e, Switch)] == [True]
    assert world.state.page_cache is not None

    world.send(PageCacheSeen(frozenset()))
    assert not any(known.in_page_cache for known in world.state.models.values())
