"""How the engine counts demand: in runs, and for longer the more models share the requests."""

from __future__ import annotations

import pytest

from engine.core.demand import decayed_weight, request_came
from engine.core.state import State
from tests.core.boxes import NOW_S, box


def asked(state: State, models: str) -> State:
    for number, model in enumerate(models):
        state = request_came(state, model, NOW_S + number)
    return state


def test_a_run_of_requests_for_one_model_weighs_as_much_as_one_and_all_are_counted() -> None:
    start = box({"a": 1, "b": 1})

    once, run = asked(start, "ab"), asked(start, "aaaab")

    assert decayed_weight(run, "a") == decayed_weight(once, "a")
    assert run.models["a"].demand.requests == 4
    assert run.models["a"].demand.last_s == NOW_S + 3


def test_a_model_that_comes_back_weighs_more_than_one_that_came_once() -> None:
    state = asked(box({"a": 1, "b": 1, "c": 1}), "abac")

    assert decayed_weight(state, "a") > decayed_weight(state, "c") > decayed_weight(state, "b")


@pytest.mark.parametrize(("models", "others"), [(3, 50), (100, 200)])
def test_a_request_weighs_1_over_e_after_two_others_for_each_model_and_at_least_50(models: int, others: int) -> None:
    state = request_came(box({f"m{n}": 1 for n in range(models)}), "m0", NOW_S)
    for number in range(others):
        state = request_came(state, f"m{1 + number % 2}", NOW_S)

    assert decayed_weight(state, "m0") == pytest.approx(0.3679, abs=1e-4)
