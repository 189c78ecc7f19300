"""Predicted time of moving bytes, from the rates that recorded switches showed.

A rate starts as a stated guess and becomes the median of the last samples, so that one bad switch changes little.
"""

from __future__ import annotations

from statistics import median, quantiles
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

KEPT_SAMPLES: Final = 15
_SPREAD_WITHOUT_SAMPLES: Final = 2.0


class Prediction(Struct, frozen=True):
    """Seconds that something will take: as often under `p50_s` as over it, one time in ten over `p90_s`."""

    p50_s: float
    p90_s: float

    def __add__(self, other: Prediction) -> Prediction:
        return Prediction(self.p50_s + other.p50_s, self.p90_s + other.p90_s)


class Rates(Struct, frozen=True):
    """How fast bytes have moved on one path."""

    guess_bytes_per_s: float = 1e9
    """Used until the first sample."""
    overhead_s: float = 0.002
    """Time that does not depend on the bytes: messages, binding, a warm-up run."""
    seconds_per_byte: tuple[float, ...] = ()
    """The newest samples, oldest first."""


NOTHING: Final = Prediction(0.0, 0.0)


def predict(rates: Rates, size_bytes: int) -> Prediction:
    """Time for `size_bytes` on the path that `rates` describes."""
    samples = rates.seconds_per_byte
    if not samples:
        middle = rates.overhead_s + size_bytes / rates.guess_bytes_per_s
        return Prediction(middle, middle * _SPREAD_WITHOUT_SAMPLES)
    middle = rates.overhead_s + size_bytes * median(samples)
    if len(samples) < 3:
        return Prediction(middle, middle * _SPREAD_WITHOUT_SAMPLES)
    ninth_decile = quantiles(samples, n=10, method="inclusive")[-1]
    return Prediction(middle, rates.overhead_s + size_bytes * ninth_decile)


def learn(rates: Rates, size_bytes: int, seconds: float) -> Rates:
    """`rates` with one more measured movement of `size_bytes` in `seconds`."""
    if size_bytes <= 0 or seconds < 0:
        return rates
    sample = max(seconds - rates.overhead_s, 0.0) / size_bytes
    return replace(rates, seconds_per_byte=(*rates.seconds_per_byte, sample)[-KEPT_SAMPLES:])
