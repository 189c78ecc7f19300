"""A model that answers on the CPU returns to a GPU by what its requests lose there, as soon as that has been measured."""

from __future__ import annotations

import pytest

from engine.core.commands import LeaveCpu
from engine.core.forecast.run_costs import ran
from engine.core.planning.eviction import worth_promoting
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.policy import Eviction, Policy
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_resident
from tests.core.test_eviction import after_requests

SLOW_S, FAST_S = 2.0, 0.1
"""A run of `a` on the CPU and on a GPU; a reload takes less than a tenth of a second."""


def a_beside_b(a: int, b: int) -> State:
    """`a` on the CPU, `b` on the only GPU, which has room for one of them, after so many requests for each, others in between."""
    sizes = {"a": 50, "b": 60, "other": 70}
    state = with_resident(with_resident(box(sizes, {"gpu0": 100}), "a", "cpu"), "b", "gpu0")
    rounds = [("a" if n < a else "other", "b" if n < b else "other") for n in range(max(a, b))]
    asked = [model for both in rounds for model in both]
    return after_requests(state, *((model, float(len(asked) - n)) for n, model in enumerate(asked)))


def measured(state: State, cpu_s: float, gpu_s: float | None) -> State:
    for _ in range(3):
        state = ran(state, "a", "cpu", 4, cpu_s)
        state = state if gpu_s is None else ran(state, "a", "gpu0", 4, gpu_s)
    return state


def returns(state: State, policy: Policy | None = None) -> bool:
    policy = policy or Policy()
    found = plan(state, LeaveCpu("a"), policy, NOW_S)
    assert isinstance(found, Plan)
    assert [victim.model for victim in found.victims] == ["b"]
    return worth_promoting(Situation(state, policy, NOW_S), found)


def test_one_that_is_asked_for_less_returns_when_the_cpu_costs_it_more_than_its_victims_reload() -> None:
    state = a_beside_b(a=4, b=12)
    assert not returns(state)

    assert returns(measured(state, SLOW_S, FAST_S))


def test_one_that_the_cpu_costs_next_to_nothing_stays_however_much_it_is_asked_for() -> None:
    state = a_beside_b(a=12, b=4)
    assert returns(state)

    assert not returns(measured(state, FAST_S + 0.001, FAST_S))


def test_until_both_are_known_its_reload_decides() -> None:
    for state in (a_beside_b(a=4, b=12), a_beside_b(a=12, b=4)):
        assert returns(measured(state, SLOW_S, None)) == returns(state)


def test_each_of_several_requests_in_a_row_loses_time_on_the_cpu() -> None:
    one_by_one = a_beside_b(a=1, b=12)
    in_a_row = after_requests(one_by_one, *[("a", 0.0)] * 200)
    little_slower = 0.05, 0.0

    assert not returns(measured(one_by_one, *little_slower))
    assert returns(measured(in_a_row, *little_slower))


@pytest.mark.parametrize("eviction", ["lru", "lfu", "ttl"])
def test_an_order_that_knows_no_seconds_decides_as_before(eviction: Eviction) -> None:
    policy = Policy(eviction)
    for state in (a_beside_b(a=4, b=12), a_beside_b(a=12, b=4)):
        assert returns(measured(state, SLOW_S, FAST_S), policy) == returns(state, policy)
