from __future__ import annotations

from msgspec.structs import replace

from engine.core.names import ModelName
from engine.core.planning.ram_tier import has_room, wanted_next
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import box, with_demand, with_resident, with_slab


def on_disk(state: State, *models: ModelName) -> State:
    """`state` with these models asked for, the first most."""
    for number, model in enumerate(models):
        state = with_demand(state, model, float(9 - number))
    return state


def with_tier(state: State, budget_mib: int, most: int = 10) -> State:
    return replace(state, ram=replace(state.ram, budget_bytes=budget_mib * MIB, max_models=most))


def test_the_model_that_is_asked_for_most_comes_first() -> None:
    assert wanted_next(on_disk(box({"a": 40, "b": 40}), "b", "a")) == "b"


def test_of_equal_demand_the_one_that_takes_longest_to_read_comes_first() -> None:
    state = on_disk(box({"small": 10, "large": 90}), "small")
    assert wanted_next(with_demand(on_disk(state, "large"), "small", 9.0)) == "large"


def test_what_nobody_asked_for_is_not_read() -> None:
    assert wanted_next(box({"a": 40})) is None


def test_what_is_not_prepared_is_not_prepared_for_it() -> None:
    state = on_disk(box({"a": 40}), "a")
    raw = replace(state, models={"a": replace(state.models["a"], prepared=False)})
    assert wanted_next(raw) is None


def test_models_on_a_device_and_in_the_tier_are_not_read_again() -> None:
    state = on_disk(box({"a": 40, "b": 40}), "a", "b")
    assert wanted_next(with_slab(with_resident(state, "a", "gpu0"), "b")) is None


def test_only_what_fits_into_the_free_room_is_read() -> None:
    state = on_disk(box({"large": 90, "small": 10}), "large", "small")
    assert wanted_next(with_tier(state, 50)) == "small"
    assert wanted_next(with_tier(state, 5)) is None
    assert wanted_next(with_tier(with_slab(state, "large"), 100)) == "small"
    assert wanted_next(with_tier(with_slab(state, "large"), 99)) is None


def test_the_number_of_models_in_the_tier_counts_too() -> None:
    state = on_disk(box({"a": 10, "b": 10}), "a", "b")
    assert wanted_next(with_tier(with_slab(state, "a"), 100, most=1)) is None


def test_a_model_that_can_not_be_read_is_left_out() -> None:
    assert wanted_next(on_disk(box({"a": 40, "b": 40}), "a", "b"), unreadable={"a"}) == "b"


def test_a_load_has_room_in_the_tier_when_what_may_go_makes_it() -> None:
    state = with_tier(with_slab(box({"a": 40, "b": 40}), "a"), 50)
    assert has_room(state, 50 * MIB)
    assert not has_room(state, 51 * MIB)


def test_a_load_has_no_room_in_the_tier_beside_a_copy_that_is_in_use() -> None:
    state = with_tier(with_slab(with_resident(box({"a": 40, "b": 40}), "a", "gpu0", stage="loading"), "a"), 50)
    assert not has_room(state, 40 * MIB)
