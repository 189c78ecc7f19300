"""Predicted seconds of moving bytes, from what such movements took before. Requests' work is predicted alike, with rows or tokens
in the place of bytes (`forecast.run_costs`).

A path begins with a stated guess. What was measured on it counts as multiples of the guess, so that models of any size tell of
each other, until a size has been moved often enough to speak for itself. Medians and deciles, so that one bad movement changes
little.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from math import hypot
from statistics import median
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

KEPT_SAMPLES: Final = 15
_ENOUGH: Final = 3
"""Of so many samples the median stands one that is far off."""
_SLOWEST_YET: Final = 2.0
"""The slowest movement that has not been seen yet is taken to last so many times as long as the slowest that has."""


class Prediction(Struct, frozen=True):
    """Seconds that something will take: as often under `p50_s` as over it, one time in ten over `p90_s`."""

    p50_s: float
    p90_s: float

    def __add__(self, other: Prediction) -> Prediction:
        """One after the other. Both are rarely slow at once: what they take beyond their medians adds up as independent errors
        do, as squares."""
        p50_s = self.p50_s + other.p50_s
        return Prediction(p50_s, p50_s + hypot(self.p90_s - self.p50_s, other.p90_s - other.p50_s))

    def times(self, factor: float) -> Prediction:
        """`factor` times as long."""
        return Prediction(self.p50_s * factor, self.p90_s * factor)

    def beside(self, other: Prediction) -> Prediction:
        """Both at once: as long as the longer one."""
        return Prediction(max(self.p50_s, other.p50_s), max(self.p90_s, other.p90_s))


NOTHING: Final = Prediction(0.0, 0.0)


class Movement(Struct, frozen=True, array_like=True):
    """One that was measured."""

    size_bytes: int
    seconds: float


class Rates(Struct, frozen=True, dict=True):
    """How long it has taken to move bytes on one path, or to do what comes with it."""

    guess_bytes_per_s: float = 1e9
    """The guess, used alone until the first sample."""
    overhead_s: float = 0.002
    """The part of the guess that does not depend on the bytes."""
    samples: tuple[Movement, ...] = ()
    """The newest ones, oldest first."""

    def guess_s(self, size_bytes: int) -> float:
        return self.overhead_s + size_bytes / self.guess_bytes_per_s

    @cached_property
    def of_size(self) -> dict[int, Prediction]:
        """Seconds for the sizes that have been moved often enough."""
        by_size: dict[int, list[float]] = {}
        for sample in self.samples:
            by_size.setdefault(sample.size_bytes, []).append(sample.seconds)
        return {size: _spread(seconds) for size, seconds in by_size.items() if len(seconds) >= _ENOUGH}

    @cached_property
    def of_guess(self) -> Prediction:
        """The guess's multiples that movements of any size have taken. While there are few, the guess counts as one."""
        multiples = [sample.seconds / self.guess_s(sample.size_bytes) for sample in self.samples]
        return _spread(multiples if len(multiples) >= _ENOUGH else [1.0, *multiples])


INSTANT: Final = Rates(guess_bytes_per_s=1e15, overhead_s=0.0)
"""A path that takes no time worth telling, until that is measured."""


def predict(rates: Rates, size_bytes: int) -> Prediction:
    """Time for `size_bytes` on the path that `rates` describes."""
    return rates.of_size.get(size_bytes) or rates.of_guess.times(rates.guess_s(size_bytes))


def learn(rates: Rates, size_bytes: int, seconds: float) -> Rates:
    """`rates` with one more measured movement of `size_bytes` in `seconds`."""
    if size_bytes <= 0 or seconds < 0:
        return rates
    return replace(rates, samples=(*rates.samples, Movement(size_bytes, seconds))[-KEPT_SAMPLES:])


def _spread(values: Iterable[float]) -> Prediction:
    """The median, and what the next value exceeds one time in ten if it comes from where these did.

    Of n values in order, the next is as likely to fall between any two neighbours, below the first or above the last; so the
    0.9 (n + 1)th is its ninth decile (Weibull's plotting position). Fewer than nine values don't reach so far.
    """
    ordered = sorted(values)
    place = 0.9 * (len(ordered) + 1) - 1
    reached = [*ordered, ordered[-1] * _SLOWEST_YET]
    below = int(place)
    ninth_decile = reached[below] + (place - below) * (reached[below + 1] - reached[below])
    return Prediction(median(ordered), ninth_decile)
