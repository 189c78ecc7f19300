"""The cheapest set of victims that frees enough bytes: a minimum knapsack cover, solved exactly where sets are small.

Branch and bound over candidates in order of cost per byte, bounded by the fractional relaxation (Dantzig 1957). The density
greedy, with what turned out to be superfluous taken out again, gives the first bound and stands when the search is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

SEARCH_LIMIT: Final = 2_000
"""Nodes after which the best cover so far stands. Far more than the residents of one device usually take."""


class Candidate(Struct, frozen=True):
    """A resident that may leave."""

    name: str
    size_bytes: int
    cost: float
    """What losing it is expected to cost; never negative."""


def cheapest_cover(candidates: Sequence[Candidate], needed_bytes: int) -> tuple[Candidate, ...] | None:
    """The cheapest candidates whose sizes sum to `needed_bytes` or more; None when all together do not.

    The same candidates give the same cover, in whatever order they come.
    """
    if needed_bytes <= 0:
        return ()
    if sum(c.size_bytes for c in candidates) < needed_bytes:
        return None
    ordered = sorted((c for c in candidates if c.size_bytes > 0), key=lambda c: (c.cost / c.size_bytes, c.name))
    search = _Search(ordered, needed_bytes)
    search.descend(0, needed_bytes, ())
    return tuple(sorted(search.best, key=lambda c: c.name))


class _Search:
    def __init__(self, ordered: list[Candidate], needed_bytes: int) -> None:
        self._ordered = ordered
        self._nodes = 0
        self.best = _greedy(ordered, needed_bytes)
        self._best_cost = _cost(self.best)

    def descend(self, index: int, missing_bytes: int, chosen: tuple[Candidate, ...]) -> None:
        """Try every cover that extends `chosen` by candidates from `index` on and could beat the best."""
        if missing_bytes <= 0:
            if (cost := _cost(chosen)) < self._best_cost:
                self.best, self._best_cost = chosen, cost
            return
        self._nodes += 1
        if self._nodes > SEARCH_LIMIT or self._bound(index, missing_bytes, chosen) >= self._best_cost:
            return
        if index < len(self._ordered):
            candidate = self._ordered[index]
            self.descend(index + 1, missing_bytes - candidate.size_bytes, (*chosen, candidate))
            self.descend(index + 1, missing_bytes, chosen)

    def _bound(self, index: int, missing_bytes: int, chosen: tuple[Candidate, ...]) -> float:
        """No cover of this branch costs less: the last candidate is counted by the share that is needed."""
        cost = _cost(chosen)
        for candidate in self._ordered[index:]:
            if candidate.size_bytes >= missing_bytes:
                return cost + candidate.cost * missing_bytes / candidate.size_bytes
            cost += candidate.cost
            missing_bytes -= candidate.size_bytes
        return float("inf")


def _greedy(ordered: list[Candidate], needed_bytes: int) -> tuple[Candidate, ...]:
    taken: list[Candidate] = []
    for candidate in ordered:
        if sum(c.size_bytes for c in taken) >= needed_bytes:
            break
        taken.append(candidate)
    for candidate in sorted(taken, key=lambda c: -c.cost):
        if sum(c.size_bytes for c in taken) - candidate.size_bytes >= needed_bytes:
            taken.remove(candidate)
    return tuple(taken)


def _cost(cover: tuple[Candidate, ...]) -> float:
    return sum(c.cost for c in cover)
