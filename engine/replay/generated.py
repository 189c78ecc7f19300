"""Generated demand: models asked for by Zipf's law, each with gamma-distributed gaps as bursty as is wanted.

Kept apart: a fire door against numpy, which would double the time of every command that only reads a trace's types.
"""

from __future__ import annotations

import numpy as np

from engine.recording.trace import TraceRequest


def demand(models: int, zipf: float, gap_cv: float, *, seed: int, requests: int = 1500) -> tuple[TraceRequest, ...]:
    """About `requests` requests. `gap_cv` is the standard deviation of a model's gaps over their mean: 1 is Poisson."""
    random = np.random.default_rng(seed)
    rates = 1 / np.arange(1, models + 1) ** zipf
    rates /= rates.sum()
    arrivals: list[tuple[float, str]] = []
    for rank, rate in enumerate(rates):
        gaps = random.gamma(1 / gap_cv**2, gap_cv**2 / rate, size=int(2 * requests * rate + 20))
        instants = np.cumsum(gaps) - random.uniform(0, 1 / rate)
        arrivals += [(float(at_s), f"m{rank:03}") for at_s in instants if 0 <= at_s < requests]
    return tuple(TraceRequest(at_s, model, 1.0) for at_s, model in sorted(arrivals))
