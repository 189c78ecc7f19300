"""Homes: the boxes whose disks a model's weights should lie on, by consistent hashing.

A box owns points on a ring of 64 bits, as many as it has GPU memory; a model's homes are the owners of the points behind the
model's own places there, one place after the other until enough boxes have been found (Karger et al., "Consistent hashing and
random trees", STOC 1997). This has the guarantees of a weighted rendezvous hash (Thaler and Ravishankar, 1996; Schindelhauer and
Schomaker, 2005): a box that comes or goes moves only the homes that it gets or had, and has a share of them by its bytes, here
within some 1 / √points. The hash scores every box for every model, though, which at 5,000 boxes takes milliseconds; a ring takes
a binary search.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from engine.core.names import BoxName, ModelName

POINTS_PER_GIB: Final = 8
"""Of GPU memory, and at least FEWEST_POINTS. Never of the fleet's mean: then a box that comes would move everybody's points."""
FEWEST_POINTS: Final = 8
_PROBES: Final = 64
"""Places of a model that are looked at before all boxes are: where hardly any box may hold it, they would miss these."""


class Ring:
    """The homes among `boxes`, of which each has so many bytes of GPU memory. It never changes: another fleet, another ring."""

    def __init__(self, boxes: Mapping[BoxName, int]) -> None:
        self._boxes = list(boxes)
        points = sorted(
            (point, number)
            for number, (box, gpu_bytes) in enumerate(boxes.items())
            for point in _points(box, gpu_bytes)
        )
        self._points = array("Q", [point for point, _ in points])
        self._owners = array("L", [owner for _, owner in points])

    def homes(self, model: ModelName, count: int, may: Callable[[BoxName], bool]) -> tuple[BoxName, ...]:
        """The first `count` homes of `model` among boxes that `may` hold it; fewer where there are no more."""
        found: dict[BoxName, None] = {}
        if self._points:
            for place in _places(model):
                at = bisect_right(self._points, place) % len(self._points)
                box = self._boxes[self._owners[at]]
                if box not in found and may(box):
                    found[box] = None
                    if len(found) == count:
                        return tuple(found)
        others = (box for box in self._boxes if box not in found and may(box))
        return (*found, *sorted(others, key=lambda box: _hash(f"{model} {box}"))[: count - len(found)])


def _points(box: BoxName, gpu_bytes: int) -> list[int]:
    return [_hash(f"{box} {n}") for n in range(max(FEWEST_POINTS, round(POINTS_PER_GIB * gpu_bytes / 2**30)))]


@lru_cache(maxsize=1 << 12)
def _places(model: ModelName) -> tuple[int, ...]:
    return tuple(_hash(f"{model} {n}") for n in range(_PROBES))


def _hash(text: str) -> int:
    """The same in every process and Python, which `hash` is not."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
