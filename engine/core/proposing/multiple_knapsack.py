"""Which items are worth having in which rooms: a multiple knapsack problem, solved exactly where that is possible.

Branch and bound chooses the *set* of items first, in order of value per byte, as for one knapsack as large as all rooms
together; whether the set also fits the separate rooms is the `Packer`'s question. It grows a packing one parcel at a time, and
packs anew when the last one finds no place. What fits together nearly always fits apart, so few sets are tried: the idea of
Pisinger's Mulknap (*European Journal of Operational Research* 114, 1999), with the fractional relaxation (Dantzig, *Operations
Research* 5(2), 1957) for a bound. The first set tried is the greedy one by value per byte, and stands when the search is cut
off.

Chosen by measurement (`benchmarks/assignment.py`): with 2 devices it proves the optimum in a hundredth of the time of HiGHS;
with 1,000 models on 64 its greedy start is nearly at the bound, where HiGHS is behind and CP-SAT has nothing after 10 s, so
it needs no local search.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from math import inf
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from engine.core.names import DeviceId

ANY_ROOM: Final = -1
_SEARCH_STEPS: Final = 2_000
"""Parcels that one search may put somewhere, beyond one for each."""


class Parcel(NamedTuple):
    """Something to be packed. A tuple, since the search makes and reads hundreds of thousands."""

    number: int
    size_bytes: int
    room: int = ANY_ROOM
    """The only one that it may be in."""


class Placed(NamedTuple):
    """A parcel in its room, and those placed before it: a chain, so that packings share what they have in common."""

    parcel: Parcel
    room: int
    before: Placed | None


class Packing(NamedTuple):
    """Parcels in rooms."""

    left_bytes: tuple[int, ...]
    """What is free in each room."""
    last: Placed | None = None

    def placed(self) -> Iterator[Placed]:
        """Every parcel in its room, the newest first."""
        link = self.last
        while link is not None:
            yield link
            link = link.before


NoPacking: TypeAlias = Literal["impossible", "unknown"]
"""`unknown`: the search gave up before it could tell."""


class Packer:
    """Packs parcels into rooms, and counts the work."""

    def __init__(self, rooms_bytes: tuple[int, ...]) -> None:
        self._rooms = rooms_bytes
        self._step_effort = 10 + len(rooms_bytes)
        self.effort = 0
        """Grows with the time spent, on any machine alike."""

    def add(self, packing: Packing, parcel: Parcel) -> Packing | NoPacking:
        """`packing` with `parcel` as well, its parcels in other rooms if need be; or that this can't be, or can't be told."""
        self.effort += self._step_effort
        left = packing.left_bytes
        allowed = range(len(left)) if parcel.room == ANY_ROOM else (parcel.room,)
        fitting = [room for room in allowed if left[room] >= parcel.size_bytes]
        # Into the fullest room that takes it, and all the others stay: nearly always that is all. Where it is not, every parcel
        # that may be anywhere is taken out again, which costs nothing, since an item is worth the same in each room but its home.
        if fitting:
            return _put(packing, parcel, min(fitting, key=left.__getitem__))
        return self._anew([*(link.parcel for link in packing.placed()), parcel])

    def _anew(self, parcels: list[Parcel]) -> Packing | NoPacking:
        packing = Packing(self._rooms)
        for parcel in parcels:
            if parcel.room != ANY_ROOM:
                packing = _put(packing, parcel, parcel.room)
        if min(packing.left_bytes, default=0) < 0:
            return "impossible"
        return self._search(packing, [parcel for parcel in parcels if parcel.room == ANY_ROOM])

    def _search(self, start: Packing, parcels: list[Parcel]) -> Packing | NoPacking:
        """`start` with all of `parcels`, by trying for each in turn the rooms that it may go to."""
        # Depth first, the largest parcels while rooms are still empty, each into the fullest room first. Two things keep it
        # short. Rooms differ by nothing but what is free in them, so a packing whose free bytes were seen before, in whatever
        # rooms, has failed before. And a room with less free than the smallest parcel takes can't be used any more: once more
        # is lost that way than all rooms have to spare, the rest can't fit. Only a search that has tried everything says
        # `impossible`; one that gave up says so, and the bound of the whole search stays honest.
        ordered = sorted(parcels, key=lambda p: (-p.size_bytes, p.number))
        spare_bytes = sum(start.left_bytes) - sum(p.size_bytes for p in ordered)
        if spare_bytes < 0:
            return "impossible"
        if not ordered:
            return start
        seen: set[tuple[int, ...]] = set()
        trail = [(start, _choices(start, ordered[0]))]
        for _ in range(_SEARCH_STEPS + len(ordered)):
            self.effort += self._step_effort
            packing, choices = trail[-1]
            room = next(choices, None)
            if room is None:
                trail.pop()
                if not trail:
                    return "impossible"
                continue
            packing = _put(packing, ordered[len(trail) - 1], room)
            if len(trail) == len(ordered):
                return packing
            alike = (len(trail), *sorted(packing.left_bytes))
            if alike not in seen and _wasted(packing, ordered[-1]) <= spare_bytes:
                seen.add(alike)
                trail.append((packing, _choices(packing, ordered[len(trail)])))
        return "unknown"


def _put(packing: Packing, parcel: Parcel, room: int) -> Packing:
    left = packing.left_bytes
    left = (*left[:room], left[room] - parcel.size_bytes, *left[room + 1 :])
    return Packing(left, Placed(parcel, room, packing.last))


def _choices(packing: Packing, parcel: Parcel) -> Iterator[int]:
    """Rooms that can take `parcel`, the fullest first."""
    left = packing.left_bytes
    fitting = [room for room, free in enumerate(left) if free >= parcel.size_bytes]
    return iter(sorted(fitting, key=left.__getitem__))


def _wasted(packing: Packing, smallest: Parcel) -> int:
    """Bytes in rooms that are too small for any parcel."""
    return sum(free for free in packing.left_bytes if free < smallest.size_bytes)


_MOST_EFFORT: Final = 2_000_000
"""Effort after which the best so far stands: 10 a step and 1 for each room that a step looks at. Steps are counted and not
seconds, since the same state must have the same proposal on a slow machine, and when it is planned again on submission."""
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


def assign(items: Iterable[Item], rooms: Mapping[DeviceId, int], limit: int = _MOST_EFFORT) -> Assignment:
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
                # the branches that are left are still looked at, each for its bound: the highest says how much may be missed
                self.undecided = max(self.undecided, bound)
                continue
            # depth first, with the next item before without it: the first dive is the greedy assignment
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
        # As if all rooms were one and every item had its best way: both only make it higher, so it holds for the separate
        # rooms.
        size_before, worth_before = self._size_before, self._worth_before
        reach_bytes = size_before[branch.first] + branch.free_bytes
        cut = bisect_right(size_before, reach_bytes) - 1
        worth = branch.worth + worth_before[cut] - worth_before[branch.first]
        if cut < len(self._choices):
            worth += self._choices[cut].worth * (reach_bytes - size_before[cut]) / self._choices[cut].size_bytes
        return worth
