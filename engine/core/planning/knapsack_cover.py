"""Sets that free enough: the cheapest one, exactly where sets are small, and those that keep to an order of leaving.

The cheapest is a minimum knapsack cover, by branch and bound over candidates in order of cost per byte, bounded by the
fractional relaxation (Dantzig 1957). The density greedy, with what turned out to be superfluous taken out again, gives the
first bound and stands when the search is cut off.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from msgspec import Struct

_MAX_NODES: Final = 2_000
"""Nodes after which the best cover so far stands. Far more than the residents of one device usually take."""


class Candidate(Struct, frozen=True):
    """Something that may leave."""

    name: str
    size_bytes: int
    cost: float
    """What losing it is expected to cost; never negative."""


class Need(Struct, frozen=True):
    """What leaving must bring."""

    size_bytes: int
    count: int = 0
    """So many must leave, whatever their sizes."""

    @property
    def is_met(self) -> bool:
        return self.size_bytes <= 0 and self.count <= 0

    def without(self, leaving: Candidate) -> Need:
        """What is missing yet when `leaving` has left."""
        return Need(self.size_bytes - leaving.size_bytes, self.count - 1)


def cheapest_cover(candidates: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
    """The cheapest candidates that meet `need`, by cost per byte; None when all together do not.

    The same candidates give the same cover, in whatever order they come.
    """
    if need.is_met:
        return ()
    ordered = _by_density(candidates)
    return _Search(ordered, need).cheapest() if _suffice(ordered, need) else None


def cost_bounds(candidates: Sequence[Candidate], need: Need) -> tuple[float, float]:
    """Between what the `cheapest_cover` costs, found without a search; infinite when all together do not meet `need`."""
    if need.is_met:
        return 0.0, 0.0
    ordered = _by_density(candidates)
    return _Search(ordered, need).bounds() if _suffice(ordered, need) else (math.inf, math.inf)


def first_cover(ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
    """The first of `ordered` that meet `need`, each spared that the earlier ones make superfluous; None when all do not.

    No other cover spares a later candidate and loses only earlier ones.
    """
    if not _suffice(ordered, need):
        return None
    # From the end: whoever would leave last is spared as long as what is left suffices, and each one spared leaves less surplus.
    surplus_bytes = sum(c.size_bytes for c in ordered) - need.size_bytes
    surplus = len(ordered) - need.count
    leaving: list[Candidate] = []
    for candidate in reversed(ordered):
        if candidate.size_bytes <= surplus_bytes and surplus > 0:
            surplus_bytes -= candidate.size_bytes
            surplus -= 1
        else:
            leaving.append(candidate)
    return tuple(reversed(leaving))


def leading_cover(ordered: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
    """The first of `ordered`, one after the other until they meet `need`; None when all do not."""
    missing, leaving = need, list[Candidate]()
    for candidate in ordered:
        if missing.is_met:
            break
        leaving.append(candidate)
        missing = missing.without(candidate)
    return tuple(leaving) if missing.is_met else None


_Chosen: TypeAlias = "tuple[Candidate, _Chosen] | None"
"""The candidates of a branch, the last one first."""
_Branch: TypeAlias = tuple[int, int, int, float, int, _Chosen]
"""Where in the order to go on, the bytes and the number missing yet, the cost so far, the bits of the spared, the chosen."""


class _Search:
    def __init__(self, ordered: list[Candidate], need: Need) -> None:
        self._ordered = ordered
        self._need = need
        self._costs = [0.0, *accumulate(c.cost for c in ordered)]
        self._sizes = [0, *accumulate(c.size_bytes for c in ordered)]
        self._least = [*accumulate((c.cost for c in reversed(ordered)), min)][::-1]
        """For each place in the order, the lowest cost from there on."""
        self._betters: dict[int, int] = {}

    def cheapest(self) -> tuple[Candidate, ...]:
        """The best cover that can be found within `_MAX_NODES` nodes."""
        # Depth first, and at each candidate the branch that takes it before the one that spares it: the stack gives back what
        # was pushed last. So the first leaf is the greedy cover by density, the next ones differ from it at its end, and no
        # more branches are kept than there are candidates.
        best = _greedy(self._ordered, self._need)
        best_cost = sum(c.cost for c in best)
        branches: list[_Branch] = [(0, self._need.size_bytes, self._need.count, 0.0, 0, None)]
        for _ in range(_MAX_NODES):
            if not branches:
                break
            index, missing_bytes, missing, cost, spared, chosen = branches.pop()
            if missing_bytes <= 0 and missing <= 0:
                if cost < best_cost:
                    best, best_cost = _listed(chosen), cost
            elif cost + self._bound(index, missing_bytes, missing) < best_cost:
                branches.append((index + 1, missing_bytes, missing, cost, spared | 1 << index, chosen))
                if not spared & self._better(index):
                    candidate = self._ordered[index]
                    taken = missing_bytes - candidate.size_bytes, missing - 1, cost + candidate.cost
                    branches.append((index + 1, *taken, spared, (candidate, chosen)))
        return best

    def bounds(self) -> tuple[float, float]:
        """The relaxation's cost, and the greedy's."""
        greedy = sum(c.cost for c in _greedy(self._ordered, self._need))
        return self._bound(0, self._need.size_bytes, self._need.count), greedy

    def _better(self, index: int) -> int:
        """The bits of those before that free as much and cost no more: who spares one of them does not take this one."""
        # A cover that spared the better one and took this could swap them and be no worse, and that one is searched elsewhere.
        # Without this, a box of models that are all of a size and a demand, as a new one is, has as many equal covers as there
        # are ways to choose, and the search would go through them until it is cut off.
        if index not in self._betters:
            this = self._ordered[index]
            before = enumerate(self._ordered[:index])
            bits = (1 << n for n, c in before if c.size_bytes >= this.size_bytes and c.cost <= this.cost)
            self._betters[index] = sum(bits)
        return self._betters[index]

    def _bound(self, index: int, missing_bytes: int, missing: int) -> float:
        """No cover from `index` on costs less: the last candidate is counted by the share that is needed of it."""
        # The order is by cost per byte, so nothing frees the missing bytes for less than the candidates that come next, if the
        # last of them could leave in part: `_sizes` and `_costs` add up along the order, and where the bytes are reached is
        # found by bisection instead of walking. A number that must leave has a bound of its own, so many times the cheapest one
        # that is left. Either holds alone; adding them up would count who meets both needs twice.
        if index + max(missing, 1) > len(self._ordered):
            return math.inf
        by_count = missing * self._least[index]
        if missing_bytes <= 0:
            return by_count
        target_bytes = self._sizes[index] + missing_bytes
        last = bisect_left(self._sizes, target_bytes) - 1
        if last >= len(self._ordered):
            return math.inf
        share = (target_bytes - self._sizes[last]) / self._ordered[last].size_bytes
        return max(by_count, self._costs[last] - self._costs[index] + share * self._ordered[last].cost)


def _by_density(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted((c for c in candidates if c.size_bytes > 0), key=lambda c: (c.cost / c.size_bytes, c.name))


def _suffice(candidates: Sequence[Candidate], need: Need) -> bool:
    return len(candidates) >= need.count and sum(c.size_bytes for c in candidates) >= need.size_bytes


def _greedy(ordered: list[Candidate], need: Need) -> tuple[Candidate, ...]:
    # `first_cover` spares from the end of what it is given: here the dearest, if it is superfluous
    taken = leading_cover(ordered, need) or ()
    needed = {c.name for c in first_cover(sorted(taken, key=lambda c: c.cost), need) or ()}
    return tuple(c for c in taken if c.name in needed)


def _listed(chosen: _Chosen) -> tuple[Candidate, ...]:
    found: list[Candidate] = []
    while chosen is not None:
        candidate, chosen = chosen
        found.append(candidate)
    return tuple(reversed(found))
