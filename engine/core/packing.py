"""Whether a set of parcels fits into rooms, and how: grown one parcel at a time, packed anew when the last one finds no place.

Packing anew is a depth-first search, largest parcels first into the fullest room, that gives up after a stated amount of work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

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


Failure: TypeAlias = Literal["impossible", "unknown"]
"""`unknown`: the search gave up before it could tell."""


class Packer:
    """Packs parcels into rooms, and counts the work."""

    def __init__(self, rooms_bytes: tuple[int, ...]) -> None:
        self._rooms = rooms_bytes
        self._step_effort = 10 + len(rooms_bytes)
        self.effort = 0
        """Grows with the time spent, on any machine alike."""

    def add(self, packing: Packing, parcel: Parcel) -> Packing | Failure:
        """`packing` with `parcel` as well, its parcels in other rooms if need be; or that this can't be, or can't be told."""
        self.effort += self._step_effort
        left = packing.left_bytes
        allowed = range(len(left)) if parcel.room == ANY_ROOM else (parcel.room,)
        fitting = [room for room in allowed if left[room] >= parcel.size_bytes]
        if fitting:
            return _put(packing, parcel, min(fitting, key=left.__getitem__))
        return self._anew([*(link.parcel for link in packing.placed()), parcel])

    def _anew(self, parcels: list[Parcel]) -> Packing | Failure:
        packing = Packing(self._rooms)
        for parcel in parcels:
            if parcel.room != ANY_ROOM:
                packing = _put(packing, parcel, parcel.room)
        if min(packing.left_bytes, default=0) < 0:
            return "impossible"
        return self._search(packing, [parcel for parcel in parcels if parcel.room == ANY_ROOM])

    def _search(self, start: Packing, parcels: list[Parcel]) -> Packing | Failure:
        """`start` with all of `parcels`, by trying for each in turn the rooms that it may go to."""
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
