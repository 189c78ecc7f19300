"""How the engine counts demand: in runs, over several spans at once, trusting those that predict."""

from __future__ import annotations

import pytest

from engine.core.forecast.demand import HORIZON_REQUESTS, SPANS_REQUESTS, expected_requests, request_came
from engine.core.state import State
from tests.core.boxes import NOW_S, box


def after_requests(state: State, models: str) -> State:
    for number, model in enumerate(models):
        state = request_came(state, model, NOW_S + number)
    return state


def trusted_span(state: State) -> int:
    return SPANS_REQUESTS[state.trust.index(max(state.trust))]


def test_a_run_of_requests_for_one_model_weighs_as_much_as_one_and_all_are_counted() -> None:
    start = box({"a": 1, "b": 1})

    once, run = after_requests(start, "ab"), after_requests(start, "aaaab")

    assert expected_requests(run, "a") == expected_requests(once, "a")
    assert run.models["a"].demand.requests == 4
    assert run.models["a"].demand.last_s == NOW_S + 3


def test_a_model_that_comes_back_weighs_more_than_one_that_came_once() -> None:
    state = after_requests(box({"a": 1, "b": 1, "c": 1}), "abac")

    assert expected_requests(state, "a") > expected_requests(state, "c") > expected_requests(state, "b")


def test_before_the_first_request_all_models_are_expected_alike_and_none_is_free_to_lose() -> None:
    state = box({"a": 1, "b": 1, "c": 1, "d": 1})

    assert [expected_requests(state, model) for model in "abcd"] == [pytest.approx(HORIZON_REQUESTS / 4)] * 4


@pytest.mark.parametrize("models", ["abab", "abcd" * 50, "aabbccdd" * 400])
def test_the_expected_requests_of_all_models_are_the_horizon(models: str) -> None:
    state = after_requests(box(dict.fromkeys("abcdef", 1)), models)

    assert sum(expected_requests(state, model) for model in "abcdef") == pytest.approx(HORIZON_REQUESTS)


def test_steady_demand_is_judged_over_a_long_span_and_demand_that_moves_on_over_a_short_one() -> None:
    start = box(dict.fromkeys("abcdefgh", 1))

    steady = after_requests(start, "abcdefgh" * 60)
    moving = after_requests(start, "ab" * 30 + "cd" * 30 + "ef" * 30 + "gh" * 30 + "ab" * 30)

    assert trusted_span(steady) >= 432
    assert trusted_span(moving) <= 48


def test_what_was_in_demand_is_soon_overtaken_when_demand_has_moved_on_before() -> None:
    state = after_requests(box(dict.fromkeys("abcdef", 1)), "ab" * 60 + "cd" * 60 + "ef" * 15)

    assert expected_requests(state, "e") > 3 * expected_requests(state, "c") > 3 * expected_requests(state, "a")


def test_the_trust_in_all_spans_is_kept_through_long_monotony() -> None:
    state = after_requests(box(dict.fromkeys("abc", 1)), "ab" * 3000)

    assert sum(state.trust) == pytest.approx(1)
    assert min(state.trust) > 0
