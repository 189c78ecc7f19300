"""The covers, against trying every set."""

from __future__ import annotations

import math
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.planning.knapsack_cover import Candidate, Need, cheapest_cover, cost_bounds, first_cover, leading_cover

SIZES = st.integers(0, 50)
COSTS = st.floats(0, 10).map(lambda cost: round(cost, 2))


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[Candidate]:
    figures = draw(st.lists(st.tuples(SIZES, COSTS), max_size=9))
    return [Candidate(f"m{n}", size, cost) for n, (size, cost) in enumerate(figures)]


def covers(candidates: list[Candidate], need: Need) -> list[tuple[Candidate, ...]]:
    """All sets that meet the need."""
    return [
        chosen
        for count in range(len(candidates) + 1)
        for chosen in combinations(candidates, count)
        if sum(c.size_bytes for c in chosen) >= need.size_bytes and len(chosen) >= need.count
    ]


@given(candidate_lists(), st.integers(-5, 200), st.integers(-2, 9))
def test_no_other_set_that_frees_enough_is_cheaper(candidates: list[Candidate], needed: int, count: int) -> None:
    need = Need(needed, count)
    cover = cheapest_cover(candidates, need)

    others = covers([c for c in candidates if c.size_bytes], need)
    if cover is None:
        assert not others
    else:
        assert sum(c.size_bytes for c in cover) >= needed
        assert len(cover) >= count
        assert sum(c.cost for c in cover) <= min(sum(c.cost for c in other) for other in others) + 1e-9


@given(candidate_lists(), st.integers(-5, 200), st.integers(-2, 9))
def test_the_cheapest_cover_costs_between_its_bounds(candidates: list[Candidate], needed: int, count: int) -> None:
    need = Need(needed, count)
    cover = cheapest_cover(candidates, need)
    least, most = cost_bounds(candidates, need)

    if cover is None:
        assert (least, most) == (math.inf, math.inf)
    else:
        assert least - 1e-9 <= sum(c.cost for c in cover) <= most + 1e-9


@given(candidate_lists(), st.integers(1, 200))
def test_no_other_set_that_frees_enough_spares_one_that_is_later_in_the_order(
    candidates: list[Candidate], needed: int
) -> None:
    def latest_first(cover: tuple[Candidate, ...]) -> list[int]:
        return sorted((candidates.index(c) for c in cover), reverse=True)

    cover = first_cover(candidates, Need(needed))

    others = covers(candidates, Need(needed))
    assert cover is None if not others else cover is not None
    if cover is not None:
        assert latest_first(cover) == min(latest_first(other) for other in others)


@given(candidate_lists(), st.integers(-5, 200), st.integers(-2, 9))
def test_one_after_the_other_leaves_until_there_is_enough_and_no_further(
    candidates: list[Candidate], needed: int, count: int
) -> None:
    cover = leading_cover(candidates, Need(needed, count))

    enough = [
        number
        for number in range(len(candidates) + 1)
        if sum(c.size_bytes for c in candidates[:number]) >= needed and number >= count
    ]
    assert cover == (tuple(candidates[: enough[0]]) if enough else None)


@given(candidate_lists(), st.integers(1, 200), st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_come_does_not_matter(
    candidates: list[Candidate], needed: int, random: object
) -> None:
    assert cheapest_cover(candidates, Need(needed)) == cheapest_cover(candidates[::-1], Need(needed))


@given(st.lists(st.tuples(st.integers(1, 50), COSTS), min_size=100, max_size=200))
def test_large_sets_still_get_a_cover_without_superfluous_victims(figures: list[tuple[int, float]]) -> None:
    candidates = [Candidate(f"m{n}", size, cost) for n, (size, cost) in enumerate(figures)]
    needed = sum(c.size_bytes for c in candidates) // 3

    cover = cheapest_cover(candidates, Need(needed))

    assert cover is not None
    freed = sum(c.size_bytes for c in cover)
    assert freed >= needed
    assert all(freed - c.size_bytes < needed for c in cover if c.cost > 0)


def test_nothing_leaves_when_nothing_is_needed() -> None:
    assert cheapest_cover([Candidate("a", 10, 0.0)], Need(0)) == ()
