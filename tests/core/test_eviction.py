"""Which models each policy gives up, for the same residents and the same need; and that policies are known to one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import citadel_tui
import engine
from engine.core.forecast.demand import request_came
from engine.core.planning.eviction import POLICIES, Leaver, eviction_policy, victims
from engine.core.planning.knapsack_cover import Need
from engine.core.policy import Eviction, Policy
from engine.core.sizes import MIB
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_resident


def after_requests(state: State, *requests: tuple[str, float], policy: Policy | None = None) -> State:
    """`state` after requests for models, each so many seconds ago, as the scheduler counts them."""
    for model, ago_s in requests:
        state = eviction_policy(policy or Policy()).asked(state, model)
        state = request_came(state, model, NOW_S - ago_s)
    return state


def victims_under(state: State, policy: Policy, needed: int = 1, **sizes: int) -> tuple[str, ...]:
    """Who leaves of models that take a second for each byte to come back."""
    sizes = sizes or dict.fromkeys(state.models, 1)
    leavers = [Leaver(model, size, float(size)) for model, size in sizes.items()]
    choice = victims(Situation(state, policy, NOW_S), leavers, Need(needed))
    assert choice is not None
    return choice.models


THREE = box({"a": 1, "b": 1, "c": 1})


def test_expected_loss_gives_up_the_least_wanted() -> None:
    state = after_requests(THREE, ("a", 9), ("b", 8), ("a", 7), ("c", 6), ("a", 5), ("c", 4))

    assert victims_under(state, Policy()) == ("b",)


def test_expected_loss_gives_up_two_that_are_back_soon_sooner_than_one_that_takes_long() -> None:
    state = after_requests(THREE, ("a", 9), ("b", 8), ("c", 7), ("a", 6), ("b", 5), ("c", 4))

    assert set(victims_under(state, Policy(), needed=4, a=2, b=2, c=9)) == {"a", "b"}


def test_lru_gives_up_the_longest_unused_and_lfu_the_least_used() -> None:
    state = after_requests(THREE, ("a", 9), ("b", 8), ("a", 7), ("b", 6), ("b", 5), ("c", 4))

    assert victims_under(state, Policy("lru")) == ("a",)
    assert victims_under(state, Policy("lfu")) == ("c",)


def test_an_order_spares_whom_the_next_one_makes_superfluous() -> None:
    state = after_requests(THREE, ("a", 9), ("b", 8), ("c", 7))

    assert victims_under(state, Policy("lru"), needed=5, a=1, b=5, c=5) == ("b",)


def test_ttl_gives_up_those_idle_for_too_long_the_soonest_back_first_and_then_the_longest_unused() -> None:
    state = after_requests(THREE, ("a", 400), ("b", 350), ("c", 200))

    assert victims_under(state, Policy("ttl"), a=3, b=2, c=1) == ("b",)
    assert victims_under(state, Policy("ttl", ttl_s=900), a=3, b=2, c=1) == ("a",)


def test_gdsf_gives_up_the_least_used_until_inflation_has_overtaken_the_often_used() -> None:
    gdsf = Policy("gdsf")
    state = with_resident(with_resident(box({"old": 1, "new": 1, "gone": 1}), "gone", "gpu0"), "old", "gpu0")
    state = after_requests(state, ("old", 9), ("new", 8), ("old", 7), ("gone", 6), ("old", 5), ("gone", 4), policy=gdsf)
    often = after_requests(state, *(("gone", 3.0),) * 9, policy=gdsf)
    inflated = after_requests(eviction_policy(gdsf).left(often, "gone", "gpu0"), ("new", 2), policy=gdsf)

    assert first_to_go(state, "old", "new") == "new"
    assert first_to_go(inflated, "old", "new") == "old"


def first_to_go(state: State, *models: str) -> str:
    """The one of `models`, all of a size and a time to come back, that GDSF gives up first."""
    leavers = [Leaver(model, MIB, 0.004) for model in models]
    return eviction_policy(Policy("gdsf")).order(Situation(state, Policy("gdsf"), NOW_S), leavers)[0].name


@pytest.mark.parametrize("eviction", [name for name in POLICIES if name != "gdsf"])
def test_a_policy_that_goes_by_the_demand_alone_remembers_nothing_beside_it(eviction: Eviction) -> None:
    state = with_resident(box({"a": 1}), "a", "gpu0")
    policy = eviction_policy(Policy(eviction))

    assert policy.left(policy.asked(state, "a"), "a", "gpu0") is state


def test_of_models_that_rank_alike_the_one_that_is_back_soonest_leaves_first() -> None:
    assert victims_under(THREE, Policy("lru"), a=3, b=2, c=3) == ("b",)
    assert victims_under(THREE, Policy("lfu"), a=3, b=2, c=3) == ("b",)


def test_all_together_are_sometimes_not_enough() -> None:
    leavers = [Leaver("a", 1, 1.0), Leaver("b", 1, 1.0)]

    assert victims(Situation(THREE, Policy(), NOW_S), leavers, Need(3)) is None
    assert victims(Situation(THREE, Policy("lru"), NOW_S), leavers, Need(3)) is None


def test_the_policies_are_those_that_the_configuration_allows() -> None:
    assert tuple(POLICIES) == get_args(Eviction)


def test_every_policy_says_in_words_who_leaves_under_it() -> None:
    rules = {policy.rule(Policy()) for policy in POLICIES.values()}

    assert len(rules) == len(POLICIES)
    assert all(rules)


def test_a_policy_is_named_where_it_is_defined_and_in_the_schema_and_nowhere_else() -> None:
    naming = {path.name for path in sources() if names_of_policies(path)}

    assert naming == {"eviction.py", "policy.py"}


def sources() -> Iterator[Path]:
    """The modules of the engine and of the console."""
    for package in (engine, citadel_tui):
        yield from Path(package.__path__[0]).rglob("*.py")


def names_of_policies(path: Path) -> set[str]:
    """The policies that a module's code names."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)} & set(POLICIES)
