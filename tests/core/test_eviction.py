"""Which models each policy gives up, for the same residents and the same need."""

from __future__ import annotations

from engine.core import ledger
from engine.core.forecast.demand import request_came
from engine.core.planning.eviction import Leaver, victims
from engine.core.planning.knapsack_cover import Need
from engine.core.policy import Policy
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_resident


def asked(state: State, *requests: tuple[str, float]) -> State:
    for model, ago_s in requests:
        state = request_came(state, model, NOW_S - ago_s)
    return state


def leaving(state: State, policy: Policy, needed: int = 1, **sizes: int) -> tuple[str, ...]:
    """Who leaves of models that take a second for each byte to come back."""
    sizes = sizes or dict.fromkeys(state.models, 1)
    leavers = [Leaver(model, size, float(size)) for model, size in sizes.items()]
    choice = victims(state, leavers, Need(needed), policy, NOW_S)
    assert choice is not None
    return choice.models


THREE = box({"a": 1, "b": 1, "c": 1})


def test_expected_loss_gives_up_the_least_wanted() -> None:
    state = asked(THREE, ("a", 9), ("b", 8), ("a", 7), ("c", 6), ("a", 5), ("c", 4))

    assert leaving(state, Policy()) == ("b",)


def test_expected_loss_gives_up_two_that_are_back_soon_sooner_than_one_that_takes_long() -> None:
    state = asked(THREE, ("a", 9), ("b", 8), ("c", 7), ("a", 6), ("b", 5), ("c", 4))

    assert set(leaving(state, Policy(), needed=4, a=2, b=2, c=9)) == {"a", "b"}


def test_lru_gives_up_the_longest_unused_and_lfu_the_least_used() -> None:
    state = asked(THREE, ("a", 9), ("b", 8), ("a", 7), ("b", 6), ("b", 5), ("c", 4))

    assert leaving(state, Policy("lru")) == ("a",)
    assert leaving(state, Policy("lfu")) == ("c",)


def test_an_order_spares_whom_the_next_one_makes_superfluous() -> None:
    state = asked(THREE, ("a", 9), ("b", 8), ("c", 7))

    assert leaving(state, Policy("lru"), needed=5, a=1, b=5, c=5) == ("b",)


def test_ttl_gives_up_those_idle_for_too_long_the_soonest_back_first_and_then_the_longest_unused() -> None:
    state = asked(THREE, ("a", 400), ("b", 350), ("c", 200))

    assert leaving(state, Policy("ttl"), a=3, b=2, c=1) == ("b",)
    assert leaving(state, Policy("ttl", ttl_s=900), a=3, b=2, c=1) == ("a",)


def test_gdsf_gives_up_the_least_used_until_inflation_has_overtaken_the_often_used() -> None:
    state = with_resident(with_resident(box({"old": 1, "new": 1, "gone": 1}), "gone", "gpu0"), "old", "gpu0")
    state = asked(state, ("old", 9), ("new", 8), ("old", 7), ("gone", 6), ("old", 5), ("gone", 4))
    leavers = [Leaver(model, MIB, 0.004) for model in ("old", "new")]
    before = victims(state, leavers, Need(1), Policy("gdsf"), NOW_S)

    often = asked(state, *(("gone", 3.0),) * 9)
    inflated = asked(ledger.leave(often, "gone", "gpu0", NOW_S), ("new", 2))
    after = victims(inflated, leavers, Need(1), Policy("gdsf"), NOW_S)

    assert before is not None
    assert before.models == ("new",)
    assert after is not None
    assert after.models == ("old",)


def test_of_models_that_rank_alike_the_one_that_is_back_soonest_leaves_first() -> None:
    assert leaving(THREE, Policy("lru"), a=3, b=2, c=3) == ("b",)
    assert leaving(THREE, Policy("lfu"), a=3, b=2, c=3) == ("b",)


def test_all_together_are_sometimes_not_enough() -> None:
    leavers = [Leaver("a", 1, 1.0), Leaver("b", 1, 1.0)]

    assert victims(THREE, leavers, Need(3), Policy(), NOW_S) is None
    assert victims(THREE, leavers, Need(3), Policy("lru"), NOW_S) is None
