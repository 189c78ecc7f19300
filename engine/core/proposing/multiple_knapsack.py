"""Which items are worth having in which rooms: a multiple knapsack problem, solved exactly where that is possible.

Branch and bound chooses the *set* of items first, in order of value per byte, as for one knapsack as large as all rooms
together; whether the set also fits the separate rooms is `core.packing`'s question. What fits together nearly always fits
apart, so few sets are tried: the idea of Pisinger's Mulknap (*European Journal of Operational Research* 114, 1999), with
the fractional relaxation (Dantzig, *Operations Research* 5(2), 1957) for a bound. The first set tried is the greedy one by
value per byte, and stands when the search is cut off.

Chosen by measurement (`benchmarks/assignment.py`): with 2 devices it proves the optimum in a hundredth of the time of HiGHS;
with 1,000 models on 64 its greedy start is nearly at the bound, where HiGHS is behind and CP-SAT has nothing after 10 s, so
it needs no local search.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from math import inf
from typing import Final, NamedTuple

from msgspec import Struct

from engine.core.names import DeviceId
from engine.core.packing import ANY_ROOM, Packer, Packing, Parcel

SEARCH_LIMIT: Final = 2_000_000
"""Effort after which the best so far stands: 10 a step and 1 for each room that a step looks at."""
_TOLERANCE: Final = 1e-9
"""Relative difference below which two values are the same: sums in another order differ by as much."""


class Item(Struct, frozen=True):
    """Something that may be given a room."""

    name: str
    size_bytes: int
    value: float
    """What it is worth to have it in any room."""
    home: DeviceId | None = None
    """Where it is now; it can stay there without cost."""
    moving_cost: float = 0.0
    """What bringing it to any other room takes off its value."""


class Assignment(Struct, frozen=True):
    """Items in rooms, what that is worth, and how much more any other assignment could be worth."""

    placements: dict[str, DeviceId]
    """The room of each item that has one."""
    value: float
    """Values less moving costs."""
    bound: float
    """Proven: no assignment is worth more."""

    @property
    def proven(self) -> bool:
        """Whether no assignment is worth more than this one."""
        return self.bound <= self.value * (1 + _TOLERANCE)

    @property
    def gap(self) -> float:
        """Share of the value by which a better assignment could at most exceed it."""
        return 0.0 if self.proven else self.bound / self.value - 1


def assign(items: Iterable[Item], rooms: Mapping[DeviceId, int], limit: int = SEARCH_LIMIT) -> Assignment:
    """The items that are worth most in `rooms` (bytes of each; below 0 is none), and where. Deterministic.

    `limit` bounds the work; what it leaves undecided shows in the bound.
    """
    rooms = {device: max(0, room_bytes) for device, room_bytes in rooms.items()}
    devices = list(rooms)
    choices = [choice for item in items if (choice := _choice(item, rooms, devices))]
    choices.sort(key=lambda choice: (-choice.density, choice.name))
    search = _Search(choices, tuple(rooms.values()), limit)
    search.run()
    return Assignment(
        placements={choices[link.parcel.number].name: devices[link.room] for link in search.best.placed()},
        value=search.best_value,
        bound=max(search.undecided, search.best_value),
    )


class _Choice(NamedTuple):
    """What can be done with an item: have it in one of the ways, or leave it out."""

    name: str
    size_bytes: int
    ways: tuple[tuple[int, float], ...]
    """The room, or any, and what it is worth there; the best first."""

    @property
    def worth(self) -> float:
        return self.ways[0][1]

    @property
    def density(self) -> float:
        return self.worth / self.size_bytes if self.size_bytes else inf


def _choice(item: Item, rooms: Mapping[DeviceId, int], devices: list[DeviceId]) -> _Choice | None:
    """None when it fits nowhere, or is worth nothing anywhere."""
    ways: list[tuple[int, float]] = []
    if item.home is not None and item.size_bytes <= rooms.get(item.home, -1):
        ways.append((devices.index(item.home), item.value))
    if item.size_bytes <= max(rooms.values(), default=0):
        ways.append((ANY_ROOM, item.value - item.moving_cost))
    worthwhile = tuple(way for way in ways if way[1] > 0)
    return _Choice(item.name, item.size_bytes, worthwhile) if worthwhile else None


class _Branch(NamedTuple):
    """All sets that hold what `packing` holds and any of the items from number `first` on."""

    first: int
    free_bytes: int
    worth: float
    packing: Packing


class _Search:
    def __init__(self, choices: list[_Choice], rooms: tuple[int, ...], limit: int) -> None:
        self._choices = choices
        self._rooms = rooms
        self._packer = Packer(rooms)
        self._limit = limit
        self._effort = 0
        self._size_before = [0, *accumulate(c.size_bytes for c in choices)]
        self._worth_before = [0.0, *accumulate(c.worth for c in choices)]
        self.best = Packing(rooms)
        self.best_value = 0.0
        self.undecided = 0.0
        """The highest bound of a branch that was given up."""

    def run(self) -> None:
        branches = [_Branch(0, sum(self._rooms), 0.0, self.best)]
        while branches:
            branch = branches.pop()
            self._effort += 10
            bound = self._bound(branch)
            if bound <= self.best_value * (1 + _TOLERANCE) or branch.first == len(self._choices):
                continue
            if self._effort + self._packer.effort > self._limit:
                self.undecided = max(self.undecided, bound)
                continue
            branches.append(branch._replace(first=branch.first + 1))
            branches += self._taken(branch)

    def _taken(self, branch: _Branch) -> Iterator[_Branch]:
        """The sets of `branch` that hold its next item too, for each way to have it that can be packed; the best way last."""
        choice = self._choices[branch.first]
        free_bytes = branch.free_bytes - choice.size_bytes
        if free_bytes < 0:
            return
        for room, worth in reversed(choice.ways):
            taken = branch._replace(first=branch.first + 1, free_bytes=free_bytes, worth=branch.worth + worth)
            packing = self._packer.add(branch.packing, Parcel(branch.first, choice.size_bytes, room))
            if isinstance(packing, Packing):
                if taken.worth > self.best_value:
                    self.best, self.best_value = packing, taken.worth
                yield taken._replace(packing=packing)
            elif packing == "unknown":
                self.undecided = max(self.undecided, self._bound(taken))

    def _bound(self, branch: _Branch) -> float:
        """No set of the branch is worth more: of the first item that is too large, the share that fits is counted."""
        size_before, worth_before = self._size_before, self._worth_before
        reach_bytes = size_before[branch.first] + branch.free_bytes
        cut = bisect_right(size_before, reach_bytes) - 1
        worth = branch.worth + worth_before[cut] - worth_before[branch.first]
        if cut < len(self._choices):
            worth += self._choices[cut].worth * (reach_bytes - size_before[cut]) / self._choices[cut].size_bytes
        return worth
