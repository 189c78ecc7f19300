"""The cheapest cover, against trying every set."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.victims import Candidate, cheapest_cover

SIZES = st.integers(0, 50)
COSTS = st.floats(0, 10).map(lambda cost: round(cost, 2))


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[Candidate]:
    figures = draw(st.lists(st.tuples(SIZES, COSTS), max_size=9))
    return [Candidate(f"m{n}", size, cost) for n, (size, cost) in enumerate(figures)]


@given(candidate_lists(), st.integers(-5, 200))
def test_no_other_set_that_frees_enough_is_cheaper(candidates: list[Candidate], needed: int) -> None:
    cover = cheapest_cover(candidates, needed)

    covers = [
        chosen
        for count in range(len(candidates) + 1)
        for chosen in combinations(candidates, count)
        if sum(c.size_bytes for c in chosen) >= needed
    ]
    if cover is None:
        assert not covers
    else:
        assert sum(c.size_bytes for c in cover) >= needed
        assert sum(c.cost for c in cover) <= min(sum(c.cost for c in other) for other in covers) + 1e-9


@given(candidate_lists(), st.integers(1, 200), st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_come_does_not_matter(
    candidates: list[Candidate], needed: int, random: object
) -> None:
    assert cheapest_cover(candidates, needed) == cheapest_cover(candidates[::-1], needed)


@given(st.lists(st.tuples(st.integers(1, 50), COSTS), min_size=100, max_size=200))
def test_large_sets_still_get_a_cover_without_superfluous_victims(figures: list[tuple[int, float]]) -> None:
    candidates = [Candidate(f"m{n}", size, cost) for n, (size, cost) in enumerate(figures)]
    needed = sum(c.size_bytes for c in candidates) // 3

    cover = cheapest_cover(candidates, needed)

    assert cover is not None
    freed = sum(c.size_bytes for c in cover)
    assert freed >= needed
    assert all(freed - c.size_bytes < needed for c in cover if c.cost > 0)


def test_nothing_leaves_when_nothing_is_needed() -> None:
    assert cheapest_cover([Candidate("a", 10, 0.0)], 0) == ()
