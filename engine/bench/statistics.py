"""What may be said of a handful of timings: their middle, their tail, and how sure a change between two of them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from statistics import median
from typing import Final

from msgspec import Struct

from engine.core.ranks import nearest_rank

RESAMPLES: Final = 4000
CONFIDENCE: Final = 0.95
_MANY: Final = 200
"""From here on it makes no difference which of the two in the middle is taken, and draws take seconds."""
_SEED: Final = 20240607
"""The same two samples always give the same interval."""


class Spread(Struct, frozen=True):
    """A sample's middle and tail."""

    count: int
    p50: float
    p95: float
    """The smallest value that at least 95 % do not exceed; of fewer than 20 values that is the largest."""
    largest: float


class MedianChange(Struct, frozen=True):
    """How the median differs from an earlier one, as a share of it: 0.1 is a tenth more."""

    share: float
    low: float
    high: float
    """Between `low` and `high` lies the true change, in 95 of 100 such comparisons."""

    def is_worse_than(self, threshold: float) -> bool:
        """Whether it grew by more than `threshold`, and more than chance explains."""
        return self.share > threshold and self.low > 0


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError when there is no value."""
    if not values:
        raise ValueError("no values, no spread")
    return Spread(len(values), median(values), nearest_rank(values, 0.95), max(values))


def change_of_median(before: Sequence[float], after: Sequence[float]) -> MedianChange:
    """The change with a bootstrap interval: both samples drawn anew from themselves, with replacement, many times over.

    Raises ValueError when either has no value, or one that is not above 0.
    """
    if not before or not after or min(*before, *after) <= 0:
        raise ValueError("a change is between two samples of values above 0")
    random = Random(_SEED)
    new, old = _resampled_medians(after, random), _resampled_medians(before, random)
    shares = sorted(next(new) / next(old) - 1 for _ in range(RESAMPLES))
    cut = round((1 - CONFIDENCE) / 2 * RESAMPLES)
    return MedianChange(median(after) / median(before) - 1, shares[cut], shares[-1 - cut])


def _resampled_medians(values: Sequence[float], random: Random) -> Iterator[float]:
    """Of as many draws with replacement, over and over."""
    count, ordered = len(values), sorted(values)
    while count <= _MANY:
        yield median(random.choices(values, k=count))
    middle = (count + 1) // 2
    while True:
        # The middle one of so many draws, without making them: the rank that it falls on is beta-distributed.
        yield ordered[min(int(count * random.betavariate(middle, count + 1 - middle)), count - 1)]


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
