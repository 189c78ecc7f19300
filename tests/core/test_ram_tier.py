"""What the RAM tier lets go, and what is worth a place in it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from engine.core.forecast.demand import SPANS_REQUESTS
from engine.core.names import CPU
from engine.core.planning.ram_tier import has_room, slabs_to_drop, within_host, worth_writing_back
from engine.core.policy import Policy
from engine.core.prediction import Rates
from engine.core.sizes import MIB
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_demand, with_resident, with_slab


def box_with_slabs(models: Mapping[str, tuple[int, float]], budget: int, *, max_models: int = 9) -> State:
    """A tier of `budget` MiB with a slab of each of `models`: its size in MiB, and how much it is asked for."""
    state = box({name: size for name, (size, _) in models.items()}, max_models=max_models)
    state = replace(state, ram=replace(state.ram, budget_bytes=budget * MIB), request_count=10_000)
    for at, (name, (_, weight)) in enumerate(models.items()):
        state = with_slab(with_demand(state, name, weight, last_s=NOW_S - 100 + at), name)
    return state


def with_budget(state: State, mib: int) -> State:
    return replace(state, ram=replace(state.ram, budget_bytes=mib * MIB, max_models=10))


def dropped(state: State, policy: Policy | None = None, coming: int = 0) -> tuple[str, ...]:
    return slabs_to_drop(Situation(state, policy or Policy(), NOW_S), coming * MIB)


def test_a_tier_within_its_limits_lets_nothing_go() -> None:
    assert dropped(box_with_slabs({"a": (5, 1), "b": (5, 1)}, 10)) == ()


def bounded(state: State, most_mib: int, left_mib: int) -> State:
    return within_host(replace(state, ram=replace(state.ram, most_bytes=most_mib * MIB)), left_mib * MIB)


def test_the_budget_follows_what_the_host_has_left_up_to_what_is_configured() -> None:
    state = box_with_slabs({"a": (100, 1), "b": (100, 1)}, 1024)
    assert bounded(state, 1024, 5000).ram.budget_bytes == 1024 * MIB
    little = bounded(state, 1024, 130)
    assert little.ram.budget_bytes == 320 * MIB
    assert dropped(little) == ()
    assert bounded(little, 1024, 5000).ram.budget_bytes == 1024 * MIB


def test_where_the_host_lacks_memory_slabs_go() -> None:
    state = box_with_slabs({"a": (100, 1), "b": (100, 2)}, 1024)
    assert dropped(bounded(state, 1024, -60)) == ("a",)
    assert dropped(bounded(state, 1024, -900)) == ("a", "b")


def test_a_little_more_or_less_is_the_same_state() -> None:
    state = bounded(box_with_slabs({"a": (100, 1)}, 1024), 1024, 100)
    assert within_host(state, 110 * MIB) is state


def test_copies_of_residents_go_before_what_rests_only_in_ram() -> None:
    state = with_resident(box_with_slabs({"resident": (5, 900), "resting": (5, 1)}, 10), "resident", "gpu0")

    assert dropped(state, coming=5) == ("resident",)
    assert dropped(state, coming=8) == ("resident", "resting")


def test_the_set_that_is_cheapest_to_read_again_goes() -> None:
    state = box_with_slabs({"large": (8, 3), "one": (4, 4), "two": (4, 4), "dear": (4, 90)}, 20)

    assert dropped(state, coming=8) == ("large",)
    assert dropped(state, coming=4) == ("one",)


def test_the_number_of_models_is_a_limit_too() -> None:
    state = box_with_slabs({"a": (1, 9), "b": (9, 9), "c": (3, 9)}, 100, max_models=2)

    assert dropped(state) == ("a",)
    assert set(dropped(state, coming=1)) == {"a", "c"}


@pytest.mark.parametrize(
    ("policy", "first"), [(Policy("lru"), "often"), (Policy("ttl"), "often"), (Policy("lfu"), "once")]
)
def test_the_policy_that_chooses_victims_chooses_here_too(policy: Policy, first: str) -> None:
    assert dropped(box_with_slabs({"often": (5, 50), "once": (5, 1)}, 8), policy) == (first,)


def test_what_the_cpu_runs_from_and_what_a_load_copies_from_stays() -> None:
    state = box_with_slabs({"on-cpu": (5, 0), "loading": (5, 0), "idle": (5, 99)}, 1)
    state = replace(state, ram=replace(state.ram, slabs=tuple(s for s in state.ram.slabs if s.model != "on-cpu")))
    state = with_resident(with_resident(state, "on-cpu", CPU), "loading", "gpu0", stage="loading")

    assert dropped(state) == ("idle",)


def box_that_one_leaves(weight: float, budget: int) -> State:
    """One model leaves gpu0 while another, as large, rests in the tier. Reading takes five times as long as copying."""
    state = box({"resting": 8, "leaving": 8}, max_models=9)
    ram = replace(state.ram, budget_bytes=budget * MIB)
    longest = (0.0,) * (len(SPANS_REQUESTS) - 1) + (1.0,)
    state = replace(state, ram=ram, disk=Rates(0.2e9, 0.0), request_count=10_000, trust=longest)
    state = with_slab(with_demand(state, "resting", 2000), "resting")
    return with_resident(with_demand(state, "leaving", weight), "leaving", "gpu0")


def is_kept(state: State, eviction: Policy | None = None) -> bool:
    return worth_writing_back(Situation(state, eviction or Policy(), NOW_S), "leaving", "gpu0")


def test_a_wanted_victim_is_worth_writing_back_into_free_room() -> None:
    assert is_kept(box_that_one_leaves(2000, budget=16))


def test_a_victim_that_hardly_anybody_asks_for_is_not_worth_its_own_copy() -> None:
    assert not is_kept(box_that_one_leaves(0, budget=16))


def test_a_victim_is_copied_back_in_the_place_of_a_less_wanted_slab_only() -> None:
    assert is_kept(box_that_one_leaves(9000, budget=8))
    assert not is_kept(box_that_one_leaves(1000, budget=8))
    assert not is_kept(box_that_one_leaves(2005, budget=8)), (
        "what it saves beyond the other's reading is less than the copy"
    )


def test_a_victim_is_not_charged_with_what_must_leave_the_tier_anyway() -> None:
    state = box_that_one_leaves(3000, budget=8)
    known = replace(state.models["resting"], spec=replace(state.models["resting"].spec, name="beside"))
    state = with_slab(replace(state, models={**state.models, "beside": known}), "beside")

    assert is_kept(state), "more wanted than either of the two, of which one must leave in any case"


def test_a_victim_larger_than_the_tier_is_not_copied_back() -> None:
    assert not is_kept(box_that_one_leaves(9000, budget=7))


def test_under_an_order_the_victim_is_copied_back_if_it_would_not_be_the_first_to_go() -> None:
    lfu = Policy("lfu")

    assert is_kept(box_that_one_leaves(9000, budget=8), lfu)
    assert not is_kept(box_that_one_leaves(1000, budget=8), lfu)
    assert is_kept(box_that_one_leaves(0, budget=16), lfu)


def test_a_load_has_room_in_the_tier_when_what_may_go_makes_it() -> None:
    state = with_budget(with_slab(box({"a": 40, "b": 40}), "a"), 50)
    assert has_room(state, 50 * MIB)
    assert not has_room(state, 51 * MIB)


def test_a_load_has_no_room_in_the_tier_beside_a_copy_that_is_in_use() -> None:
    state = with_budget(with_slab(with_resident(box({"a": 40, "b": 40}), "a", "gpu0", stage="loading"), "a"), 50)
    assert not has_room(state, 40 * MIB)
