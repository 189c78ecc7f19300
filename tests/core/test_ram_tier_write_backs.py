"""Whose weights go back to the RAM tier, as a plan foresees it."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.commands import Evict, Load
from engine.core.devices import Reading
from engine.core.names import CPU
from engine.core.planning.planner import after, plan
from engine.core.planning.ram_tier import goes_back, learned_back, with_write_backs, write_back_time
from engine.core.plans import EvictStep, LoadStep, Plan
from engine.core.policy import Policy
from engine.core.sizes import MIB
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_demand, with_reading, with_resident, with_slab


def with_tier(state: State, budget: int) -> State:
    return replace(state, ram=replace(state.ram, budget_bytes=budget * MIB))


def weights_go_back(state: State, model: str, device: str = "gpu0") -> bool:
    resident = state.find(model, device)
    assert resident is not None
    return goes_back(Situation(state, Policy(), NOW_S), resident)


def test_only_what_is_nowhere_else_in_memory_goes_back() -> None:
    state = with_resident(box({"a": 20}), "a", "gpu0")

    assert weights_go_back(state, "a")
    assert not weights_go_back(with_slab(state, "a"), "a")
    assert not weights_go_back(with_resident(state, "a", "gpu1", stage="loading"), "a"), "it has moved, or is about to"
    assert not weights_go_back(with_resident(box({"a": 20}), "a", CPU), "a", CPU)


def test_nothing_is_copied_from_a_card_that_is_not_well() -> None:
    state = with_reading(with_resident(box({"a": 20}), "a", "gpu0"), "gpu0", Reading("lost", "fell off the bus"))

    assert not weights_go_back(state, "a")


def test_what_the_tier_can_not_hold_stays_on_disk() -> None:
    assert not weights_go_back(with_tier(with_resident(box({"a": 20}), "a", "gpu0"), 19), "a")


def test_a_slab_that_a_load_copies_from_does_not_make_room() -> None:
    state = with_slab(with_resident(box({"a": 20, "b": 20}), "b", "gpu1", stage="loading"), "b")

    assert not weights_go_back(with_tier(with_resident(state, "a", "gpu0"), 30), "a")


def test_of_two_victims_the_second_sees_the_room_that_the_first_has_taken() -> None:
    state = with_resident(with_resident(box({"a": 20, "b": 20, "c": 70}, {"gpu0": 100}), "a", "gpu0"), "b", "gpu0")
    state = with_tier(with_slab(with_demand(with_demand(state, "a", 500), "b", 500), "c"), 95)
    state = replace(state, ram=replace(state.ram, max_models=9))
    load = LoadStep("c", "gpu0", 70 * MIB, "ram")
    steps = [EvictStep(name, "gpu0", 20 * MIB) for name in "ab"]

    marked = with_write_backs(Situation(state, Policy(), NOW_S), steps, load)

    assert [step.written_back for step in marked] == [True, False]
    assert marked[0].predicted == write_back_time(state, "a", "gpu0")


def test_the_reading_of_what_comes_has_its_place_in_the_tier_first() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    found = plan(with_tier(state, 100), Load("b"), Policy(), NOW_S)

    assert isinstance(found, Plan)
    assert not found.victims[0].written_back


def test_what_a_plan_copies_back_is_in_the_tier_for_the_next_command_of_its_batch() -> None:
    state = with_resident(box({"a": 20}), "a", "gpu0")
    found = plan(state, Evict("a"), Policy(), NOW_S)
    assert isinstance(found, Plan)

    left = after(state, found.steps, NOW_S)

    assert left.ram.find("a") is not None
    assert not left.residents


def test_copies_back_are_taken_to_be_as_fast_as_loads_until_one_was_measured() -> None:
    state = with_resident(box({"a": 100}), "a", "gpu0")
    before = write_back_time(state, "a", "gpu0").p50_s
    for _ in range(3):
        state = learned_back(state, "gpu0", 100 * MIB, 9.0)

    assert before < 1
    assert write_back_time(state, "a", "gpu0").p50_s == 9.0
