"""A victim's weights go back to the RAM tier before it is gone, where that pays; and whatever breaks, the switch goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.api import Cancelled, Done
from engine.core.commands import Evict, Load, Move
from engine.core.plans import Plan
from engine.core.records import Notice
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.effects import BindModel, DropSlab, KillWorker, ReadSlab, ReleaseModel, WriteBackSlab
from engine.scheduler.messages import SlabWrittenBack
from tests.core.boxes import box, with_demand, with_resident, with_slab
from tests.scheduler.scripted_world import World


def full(*, tier: int = 10_000) -> State:
    """`a` fills the one GPU and is nowhere else in memory; `b` rests in a RAM tier of `tier` MiB."""
    state = with_slab(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "b")
    return replace(state, ram=replace(state.ram, budget_bytes=tier * MIB))


def switching() -> World:
    """`b` is to come, and `a` is being written back for it."""
    world = World(full())
    world.submit(Load("b"))
    return world


def tier_of(world: World) -> dict[str, str]:
    return {slab.model: slab.stage for slab in world.state.ram.slabs}


def plan_of(world: World, name: str) -> Plan:
    answer = world.answers[name]
    assert isinstance(answer, Done)
    return answer.plan


def test_a_victim_is_released_only_when_its_weights_are_back() -> None:
    world = switching()
    assert world.waiting == [WriteBackSlab("a", "gpu0", 60 * MIB)]
    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    assert tier_of(world) == {"b": "kept", "a": "writing back"}

    world.perform(world.expect(WriteBackSlab))
    assert world.waiting == [ReleaseModel("a", "gpu0")]
    assert tier_of(world) == {"b": "kept", "a": "kept"}

    world.settle()
    assert world.where() == {"b": "gpu0 ready"}


def test_the_copy_counts_as_evicting_and_the_phases_sum() -> None:
    world = switching()
    world.settle()

    answer = world.answers["s1"]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    assert answer.switch.phases.evict == pytest.approx(0.2)
    assert answer.switch.phases.total_s == pytest.approx(answer.switch.total_s)


def test_the_preview_says_what_goes_back_and_how_long_that_takes() -> None:
    world = switching()
    world.settle()
    [step] = plan_of(world, "s1").victims

    assert step.written_back
    assert step.predicted.p50_s == pytest.approx(60 * MIB / 1e9, rel=0.1)


def test_a_model_whose_slab_is_there_already_is_not_copied_again() -> None:
    world = World(with_slab(full(), "a"))
    name = world.submit(Load("b"))
    world.expect(ReleaseModel)
    world.settle()

    assert not plan_of(world, name).victims[0].written_back


def test_a_copy_that_fails_is_a_plain_eviction_and_no_failed_switch() -> None:
    world = switching()
    world.fail_write_back("a")
    assert tier_of(world) == {"b": "kept"}

    world.settle()

    assert isinstance(world.answers["s1"], Done)
    assert world.where() == {"b": "gpu0 ready"}


def test_a_worker_that_dies_while_it_copies_back_takes_nothing_else_along() -> None:
    world = switching()
    world.kill_worker("gpu0")
    assert tier_of(world) == {"b": "kept"}

    world.settle()

    assert isinstance(world.answers["s1"], Done)
    assert world.state.find("b", "gpu0") is not None


def test_a_copy_that_never_ends_is_given_up_with_its_worker_and_the_switch_goes_on() -> None:
    world = switching()
    world.pass_time(119)
    assert world.find(KillWorker) is None
    world.pass_time(1)
    assert world.waiting == [WriteBackSlab("a", "gpu0", 60 * MIB), KillWorker("gpu0")]
    world.pass_time(300)
    assert len(world.waiting) == 2, "once is enough"

    world.perform(world.expect(KillWorker))
    assert tier_of(world) == {"b": "kept"}
    world.settle()
    assert isinstance(world.answers["s1"], Done)
    assert world.where() == {"b": "gpu0 ready"}
    [told] = [entry.text for entry in world.written if isinstance(entry, Notice) and "copying" in entry.text]
    assert told.startswith("copying a back from gpu0 took longer than 120 s and was given up")


def test_neighbours_of_a_copy_that_never_ends_come_back() -> None:
    state = with_resident(with_resident(box({"a": 60, "c": 10}, {"gpu0": 100}), "a", "gpu0"), "c", "gpu0")
    world = World(state)
    world.submit(Evict("a"))
    world.pass_time(120)
    world.perform(world.expect(KillWorker))
    world.settle()
    assert world.where() == {"c": "gpu0 ready"}


def test_a_load_that_is_taken_back_meanwhile_does_not_begin() -> None:
    world = switching()
    world.withdraw("s1")
    assert not world.answers, "the bytes are still read by the copy"

    world.perform(world.expect(WriteBackSlab))
    world.perform(world.expect(ReleaseModel))

    assert isinstance(world.answers["s1"], Cancelled)
    assert world.find(BindModel) is None
    assert world.where() == {}
    assert tier_of(world) == {"b": "kept", "a": "kept"}


def test_a_request_for_a_model_on_its_way_back_waits_for_the_copy_and_reads_nothing() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100, "gpu1": 100}), "a", "gpu0")
    world = World(state)
    world.submit(Evict("a"))
    lease = world.ask("a")
    assert world.state.find("a", "gpu1") is not None
    assert world.find(ReadSlab) is None
    assert world.find(BindModel) is None, "its slab is of no use before all of it is there"

    world.settle()

    assert world.granted == {lease: "gpu1"}
    assert tier_of(world) == {"a": "kept"}


def test_a_load_that_waits_for_a_copy_that_fails_reads_from_disk() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100, "gpu1": 100}), "a", "gpu0")
    world = World(state)
    world.submit(Evict("a"))
    lease = world.ask("a")
    world.fail_write_back("a")
    world.expect(ReadSlab)

    world.settle()

    assert world.granted == {lease: "gpu1"}


def test_a_load_that_is_taken_back_while_its_slab_returns_lets_the_copy_end() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100, "gpu1": 100}), "a", "gpu0")
    world = World(state)
    world.submit(Evict("a"))
    name = world.submit(Load("a", "gpu1"))
    world.withdraw(name)

    world.settle()

    assert isinstance(world.answers[name], Cancelled)
    assert tier_of(world) == {"a": "kept"}


def test_a_move_copies_nothing_back() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    name = world.submit(Move("a", "gpu1"))
    world.settle()

    assert world.where() == {"a": "gpu1 ready"}
    assert not any(step.written_back for step in plan_of(world, name).victims)


def test_the_tier_lets_go_of_what_is_worth_less_before_the_copy_comes() -> None:
    state = box({"a": 60, "b": 60, "resident": 15}, {"gpu0": 100, "gpu1": 100}, max_models=3)
    state = with_slab(with_resident(with_resident(state, "a", "gpu0"), "resident", "gpu1"), "resident")
    world = World(replace(state, ram=replace(state.ram, budget_bytes=70 * MIB)))
    world.submit(Evict("a"))

    assert world.waiting == [DropSlab("resident"), WriteBackSlab("a", "gpu0", 60 * MIB)]


def test_without_room_in_the_tier_nothing_is_copied_back_and_the_evicted_rest_on_disk() -> None:
    world = World(full(tier=70))
    name = world.submit(Load("b"))
    assert world.waiting == [ReleaseModel("a", "gpu0")]
    world.settle()

    assert not plan_of(world, name).victims[0].written_back


@given(
    weights=st.lists(st.integers(0, 2000), min_size=6, max_size=6),
    in_tier=st.sets(st.sampled_from("abcdef")),
    tier=st.integers(0, 120),
    coming=st.sampled_from("ef"),
)
def test_what_the_preview_says_goes_back_goes_back(
    weights: list[int], in_tier: set[str], tier: int, coming: str
) -> None:
    state = box(dict(zip("abcdef", (30, 20, 25, 5, 50, 75), strict=True)), {"gpu0": 100}, max_models=4)
    for name, weight in zip("abcdef", weights, strict=True):
        state = with_demand(state, name, weight)
        state = with_slab(state, name) if name in in_tier else state
    for name in "abcd":
        state = with_resident(state, name, "gpu0")
    world = World(replace(state, ram=replace(state.ram, budget_bytes=tier * MIB)))
    world.pass_time(1)  # the tier comes within its limits
    submitted = world.submit(Load(coming))
    came_back: list[str] = []
    while world.waiting:
        effect = world.waiting[0]
        if isinstance(effect, WriteBackSlab):
            came_back.append(effect.model)
        world.perform(effect)

    foreseen = [step.model for step in plan_of(world, submitted).victims if step.written_back]
    assert foreseen == came_back


def test_what_copies_back_take_is_learned_apart_from_what_loads_take() -> None:
    world = switching()
    world.waiting.clear()
    for _ in range(3):
        world.send(SlabWrittenBack("a", "gpu0", 60 * MIB, 0.6))
    known = world.state.devices["gpu0"]

    assert known.back is not None
    assert [m.seconds for m in known.back.samples] == [0.6, 0.6, 0.6]
    assert not known.rates.samples


def test_the_operator_is_told_that_the_weights_go_back() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    name = world.submit(Evict("a"))
    world.settle()

    assert plan_of(world, name).reasons == ("its weights go back to the RAM tier",)
