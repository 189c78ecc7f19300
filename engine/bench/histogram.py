"""How often a measured time lay where between the shortest and the longest."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Histogram(Struct, frozen=True):
    """Counts in steps of equal width from `low` to `high`."""

    low: float
    high: float
    counts: tuple[int, ...]


def histogram(values: Sequence[float], steps: int) -> Histogram:
    """Raises ValueError when there is no value. Values that are all equal fall into the first step."""
    if not values:
        raise ValueError("no values, no histogram")
    low, high = min(values), max(values)
    width = (high - low) / steps
    counts = [0] * steps
    for value in values:
        counts[min(int((value - low) / width), steps - 1) if width else 0] += 1
    return Histogram(low, high, tuple(counts))
