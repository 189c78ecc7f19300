"""Homes: the boxes on whose disks a model's weights should lie, by a rendezvous hash that a binary search finds.

A box owns points on a ring of 64 bits, as many as it has GPU memory, and a model has PROBES places there. How far a box is from
a model is the least distance from one of the model's places to one of the box's points behind it, and the nearest boxes are the
model's homes. A distance depends on that box and that model alone: so a box that comes or goes moves only the homes that it gets
or had. And the least of so many distances is nearly exponential, with the number of points for its rate: so a box has homes by
its bytes. These are the guarantees of a weighted rendezvous hash (Thaler and Ravishankar, "A name-based mapping scheme for
rendezvous", 1996; -w / ln h by Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005), which asks every box
for every model: milliseconds for 5,000 boxes. The nearest on a ring take a binary search a place (Appleton and O'Reilly,
"Multi-probe consistent hashing", 2015).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping
from hashlib import blake2b
from heapq import heapify, heapreplace
from struct import unpack
from typing import Final

from engine.core.names import BoxName, ModelName

POINTS_PER_GIB: Final = 8
"""Of GPU memory. Never of the fleet's mean: then a box that comes would move everybody's points."""
PROBES: Final = 8
"""With one, a box's share would be as long as the gaps before its points happen to be; the more, the more even."""
_WHOLE: Final = 1 << 64
_MOST_STEPS: Final = 128
"""Points that are looked at before all boxes are: where hardly any box may hold a model, the way to those is long."""


class Ring:
    """The homes among `boxes`, each with its bytes of GPU memory. It never changes: another fleet, another ring."""

    def __init__(self, boxes: Mapping[BoxName, int]) -> None:
        self._boxes = list(boxes)
        owned = [(point, n) for n, (box, gpu_bytes) in enumerate(boxes.items()) for point in _points(box, gpu_bytes)]
        owned.sort()
        self._points = array("Q", [point for point, _ in owned])
        self._owners = array("L", [owner for _, owner in owned])

    def homes(self, model: ModelName, count: int, may: Callable[[BoxName], bool]) -> tuple[BoxName, ...]:
        """The `count` boxes nearest to `model` of those that `may` hold it, the nearest first; fewer where there are no more."""
        found: list[BoxName] = []
        passed: set[int] = set()
        nearest = self._nearest(model)
        for _ in range(min(_MOST_STEPS, PROBES * len(self._points))):
            distance, at = nearest[0]
            after = (at + 1) % len(self._points)
            heapreplace(nearest, (distance + (self._points[after] - self._points[at]) % _WHOLE, after))
            owner = self._owners[at]
            if owner not in passed:
                passed.add(owner)
                if may(box := self._boxes[owner]):
                    found.append(box)
                if len(found) == count or len(passed) == len(self._boxes):
                    return tuple(found)
        others = [box for n, box in enumerate(self._boxes) if n not in passed and may(box)]
        return (*found, *sorted(others, key=lambda box: _hashes(f"{model} {box}")[0])[: count - len(found)])

    def _nearest(self, model: ModelName) -> list[tuple[int, int]]:
        """A heap with each place of the model: how far it is to the next point, and which that is."""
        points, size = self._points, len(self._points)
        nearest = []
        for place in _hashes(model):
            at = bisect_left(points, place) % size if size else 0
            nearest.append(((points[at] - place) % _WHOLE if size else 0, at))
        heapify(nearest)
        return nearest


def _points(box: BoxName, gpu_bytes: int) -> list[int]:
    count = max(1, round(POINTS_PER_GIB * gpu_bytes / 2**30))
    return [point for n in range(-(-count // 8)) for point in _hashes(f"{box} {n}")][:count]


def _hashes(text: str) -> tuple[int, ...]:
    """Eight of 64 bits, the same in every process and Python, which `hash` is not."""
    return unpack("<8Q", blake2b(text.encode()).digest())
