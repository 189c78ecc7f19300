"""What one more copy is expected to save: learned from the queue as it has been."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.commands import Load
from engine.core.forecast.costs import loss_s
from engine.core.forecast.demand import request_came
from engine.core.forecast.queueing import mean_waits_s, queued, saved_s
from engine.core.forecast.run_costs import ran
from engine.core.planning.copying import may_pay, pays
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_demand, with_resident

SIZES = {"a": 50, "b": 50, "c": 50}
THREE_GPUS = {"gpu0": 100, "gpu1": 100, "gpu2": 100}
RUN_S = 1.0


def measured(state: State, model: str = "a", run_s: float = RUN_S) -> State:
    """A state that knows what runs of the model take, so well that no guess is left."""
    for _ in range(20):
        state = ran(state, model, "gpu0", 1, run_s)
    return state


def after_requests(state: State, at_s: Iterable[float], model: str = "a") -> State:
    for moment in at_s:
        state = queued(request_came(state, model, NOW_S + moment), model, 1, moment)
    return state


def test_requests_far_apart_wait_for_nobody() -> None:
    state = after_requests(measured(box(SIZES)), [10.0 * n for n in range(20)])

    assert mean_waits_s(state, "a") == (0.0, 0.0)
    assert saved_s(state, "a", copies=1) == 0.0


def test_of_three_requests_at_once_the_waits_are_those_of_one_two_and_three_servers() -> None:
    state = after_requests(measured(box(SIZES, THREE_GPUS)), [0.0, 0.0, 0.0])

    # 0, 1, 2 seconds for one; 0, 0, 1 for two; none for three
    assert mean_waits_s(state, "a") == pytest.approx((1.0, 1 / 3, 0.0), rel=0.05)


def test_the_second_copy_saves_more_than_the_third() -> None:
    state = after_requests(measured(box(SIZES, THREE_GPUS)), [burst for burst in range(0, 60, 6) for _ in range(5)])

    assert saved_s(state, "a", copies=1) > saved_s(state, "a", copies=2) > 0


def test_nothing_is_expected_of_a_fourth_copy_on_three_gpus() -> None:
    state = after_requests(measured(box(SIZES, THREE_GPUS)), [0.0] * 10)

    assert saved_s(state, "a", copies=3) == 0.0


def test_before_a_run_was_measured_a_queue_says_nothing() -> None:
    state = after_requests(box(SIZES), [0.0] * 10)

    assert mean_waits_s(state, "a") == ()
    assert saved_s(state, "a", copies=1) == 0.0


def test_what_was_saved_fades_with_the_requests_for_others() -> None:
    busy = after_requests(measured(box(SIZES)), [0.0] * 10)
    long_ago = after_requests(busy, (100.0 + n for n in range(400)), "b")
    long_ago = after_requests(long_ago, (100.0 + n for n in range(400)), "c")

    assert saved_s(long_ago, "a", copies=1) < saved_s(busy, "a", copies=1)


def test_a_copy_is_worth_the_waiting_that_it_saves_and_the_only_one_its_reload() -> None:
    one = with_resident(after_requests(measured(box(SIZES)), [0.0] * 10), "a", "gpu0")
    two = with_resident(one, "a", "gpu1")

    [only], [_, copy] = one.of("a"), two.of("a")
    assert loss_s(two, copy) == saved_s(two, "a", copies=1)
    assert loss_s(one, only) != loss_s(two, copy)


def test_a_copy_says_in_its_plan_what_requests_wait_with_and_without() -> None:
    state = with_resident(after_requests(measured(box(SIZES)), [0.0, 0.0]), "a", "gpu0")

    found = plan(state, Load("a", also=True), Policy(), NOW_S)

    assert isinstance(found, Plan)
    assert found.reasons[0] == "requests wait 0.50 s on average for one copy, 0.00 s for 2"


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 60), st.floats(0.01, 3.0), st.floats(0.0, 50.0), st.sampled_from(["expected_loss", "lru", "gdsf"])
)
def test_no_copy_displaces_what_is_worth_more(requests: int, run_s: float, weight: float, eviction: str) -> None:
    order = random.Random(requests)
    state = measured(box(SIZES), run_s=run_s)
    state = after_requests(state, sorted(order.uniform(0, 20) for _ in range(requests)))
    state = with_resident(with_resident(with_demand(state, "b", weight), "a", "gpu0"), "b", "gpu1")

    found = plan(state, Load("a", also=True), Policy(eviction=eviction, min_residency_s=0.0), NOW_S)  # type: ignore[arg-type]

    assert isinstance(found, Plan)
    victim = state.find("b", "gpu1")
    assert victim is not None
    if pays(state, found):
        assert may_pay(state, "a")
        assert saved_s(state, "a", copies=1) > loss_s(state, victim)
