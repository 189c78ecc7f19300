"""What is worth reading ahead, and what may leave the RAM tier for it."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from engine.core.forecast.demand import HORIZON_REQUESTS, expected_requests
from engine.core.names import ModelName
from engine.core.planning.read_ahead import ReadAhead, stay_requests, worth_reading_ahead
from engine.core.policy import Policy
from engine.core.prediction import Rates
from engine.core.sizes import MIB
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_demand, with_resident, with_slab


def on_disk(state: State, *models: ModelName) -> State:
    """`state` with these models asked for, the first most."""
    for number, model in enumerate(models):
        state = with_demand(state, model, float(9 - number))
    return state


def with_tier(state: State, budget_mib: int, most: int = 10) -> State:
    return replace(state, ram=replace(state.ram, budget_bytes=budget_mib * MIB, max_models=most))


def found(state: State, *unreadable: ModelName) -> ReadAhead | None:
    return worth_reading_ahead(Situation(state, Policy(), NOW_S), unreadable)


def wanted(state: State, *unreadable: ModelName) -> ModelName | None:
    ahead = found(state, *unreadable)
    return ahead.model if ahead else None


def test_the_model_that_is_asked_for_most_comes_first() -> None:
    assert wanted(on_disk(box({"a": 40, "b": 40}), "b", "a")) == "b"


def test_of_equal_demand_the_one_that_takes_longest_to_read_comes_first() -> None:
    state = on_disk(box({"small": 10, "large": 90}), "small")
    assert wanted(with_demand(on_disk(state, "large"), "small", 9.0)) == "large"


def test_what_nobody_asked_for_is_not_read() -> None:
    assert wanted(box({"a": 40})) is None


def test_what_is_not_prepared_is_not_prepared_for_it() -> None:
    state = on_disk(box({"a": 40}), "a")
    raw = replace(state, models={"a": replace(state.models["a"], prepared=False)})
    assert wanted(raw) is None


def test_models_on_a_device_and_in_the_tier_are_not_read_again() -> None:
    state = on_disk(box({"a": 40, "b": 40}), "a", "b")
    assert wanted(with_slab(with_resident(state, "a", "gpu0"), "b")) is None


def test_what_has_no_room_even_without_what_may_leave_is_not_read() -> None:
    state = on_disk(box({"large": 90, "small": 10}), "large", "small")
    assert wanted(with_tier(state, 50)) == "small"
    assert wanted(with_tier(state, 5)) is None


def test_a_slab_that_nobody_asks_for_leaves_for_one_that_is_asked_for() -> None:
    state = with_slab(on_disk(box({"idle": 40, "asked": 40}), "asked"), "idle")
    ahead = found(with_tier(state, 50))

    assert ahead is not None
    assert (ahead.model, ahead.displaced) == ("asked", ("idle",))
    assert found(with_tier(state, 100, most=1)) == ahead, "their number is a limit too"


def test_a_slab_does_not_leave_for_one_that_saves_less() -> None:
    state = with_tier(with_slab(on_disk(box({"more": 40, "less": 40}), "more", "less"), "more"), 50)
    assert wanted(state) is None


def test_a_model_that_can_not_be_read_is_left_out() -> None:
    assert wanted(on_disk(box({"a": 40, "b": 40}), "a", "b"), "a") == "b"


def churned(displaced: int) -> State:
    """`rare` is on disk and two others rest beside free room, after 1000 requests in which so many slabs had to leave."""
    state = on_disk(box({"rare": 40, "one": 40, "two": 40}), "one", "two", "rare")
    state = with_slab(with_slab(with_tier(state, 200), "one"), "two")
    return replace(state, request_count=1000, ram=replace(state.ram, displaced=displaced))


def test_where_much_comes_and_goes_a_slab_stays_for_few_requests_and_is_not_worth_reading() -> None:
    assert stay_requests(churned(0)) == math.inf
    assert stay_requests(churned(10)) == 200
    assert wanted(churned(10)) == "rare"
    assert stay_requests(churned(1000)) == 2
    assert wanted(churned(1000)) is None


def test_the_gain_is_what_is_saved_while_it_stays_less_the_reading() -> None:
    ahead = found(churned(10))
    assert ahead is not None
    chance = expected_requests(churned(10), "rare") / HORIZON_REQUESTS
    assert ahead.saved_s == pytest.approx(200 * chance * ahead.reading_s)
    assert ahead.worth_s == pytest.approx(ahead.saved_s - ahead.reading_s)


def test_a_copy_of_a_model_on_a_gpu_costs_what_copying_it_back_will_take() -> None:
    state = with_resident(with_slab(churned(10), "rare"), "rare", "gpu0")
    state = with_demand(replace(state, models=state.models | box({"next": 40}).models), "next", 8.0)
    state = with_tier(state, 130)
    cheap, dear = found(state), found(with_slow_copies(state))

    assert cheap is not None
    assert (cheap.model, cheap.displaced) == ("next", ("rare",))
    assert dear is None


def with_slow_copies(state: State) -> State:
    """Copying a slab back from gpu0 takes a minute and more."""
    gpu = replace(state.devices["gpu0"], back=Rates(guess_bytes_per_s=0.5 * MIB))
    return replace(state, devices={**state.devices, "gpu0": gpu})


def test_the_reason_says_what_it_saves_and_what_left_for_it() -> None:
    assert ReadAhead("a", 4.0, 9.25, ("b", "c")).reason == (
        "4.0 s of reading while idle are expected to save 9.2 s of waiting, b and c left for it"
    )
    assert (
        ReadAhead("a", 4.0, math.inf, ()).reason == "it is asked for, and no copy has had to leave yet for want of room"
    )
