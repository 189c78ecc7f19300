"""Demand for a simulated fleet: seeded Zipf demand, or a recorded trace's, and the sizes of its models."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import log
from random import Random
from typing import Final

from msgspec import Struct

from benchmarks.fleet_boxes import GPU_GB, SERVICE_S
from engine.core.names import ModelName
from engine.recording.trace import TraceRequest
from engine.replay.box import CYCLE_BYTES

_KINDS_GB: Final = (0.12, 0.17, 0.47, 0.9, 2.0, 3.9)
_SHARES: Final = (0.3, 0.25, 0.2, 0.12, 0.09, 0.04)
_LARGEST_GB: Final = 4.6
_REMEMBERED: Final = 200
"""Requests for a model that come on average within the demand's memory."""


class Demand(Struct, frozen=True):
    """Who is asked for, and when."""

    sizes_gb: dict[ModelName, float]
    popularity: dict[ModelName, float]
    """Each model's share of the requests, the most requested first."""
    per_s: float
    arrivals: Sequence[TraceRequest] = ()
    """Recorded requests; empty for drawn ones."""
    seed: int = 0

    @property
    def memory_s(self) -> float:
        """How long demand is to be remembered."""
        return _REMEMBERED * len(self.sizes_gb) / self.per_s

    def requests(self, count: int) -> Iterator[tuple[float, ModelName]]:
        """The first `count`: seconds since the start, and the model."""
        if self.arrivals:
            yield from ((request.at_s, request.model) for request in self.arrivals[:count])
            return
        random, models = Random(self.seed), list(self.popularity)
        sums = list(accumulate(self.popularity.values()))
        at_s = 0.0
        for _ in range(count):
            at_s -= log(1.0 - random.random()) / self.per_s
            yield at_s, models[min(bisect_left(sums, random.random() * sums[-1]), len(models) - 1)]


def zipf_demand(gpus: int, models: int, seed: int, exponent: float = 1.0, busy: float = 0.1) -> Demand:
    """Poisson arrivals that keep the share `busy` of all GPUs computing, for models whose shares follow Zipf's law."""
    random = Random(f"{models} models of {seed}")
    sizes = {
        f"m{n}": min(random.choices(_KINDS_GB, _SHARES)[0] * random.uniform(0.85, 1.15), _LARGEST_GB)
        for n in range(models)
    }
    ranked = list(sizes)
    random.shuffle(ranked)
    total = sum(rank**-exponent for rank in range(1, models + 1))
    shares = {model: rank**-exponent / total for rank, model in enumerate(ranked, 1)}
    return Demand(sizes, shares, gpus * busy / SERVICE_S, seed=seed)


def trace_demand(requests: Sequence[TraceRequest]) -> Demand:
    """A trace's requests, each SERVICE_S long; the replay's eight sizes in turn, by popularity."""
    counts = Counter(request.model for request in requests)
    ranked = [model for model, _ in counts.most_common()]
    sizes = {model: CYCLE_BYTES[rank % len(CYCLE_BYTES)] / 1e9 for rank, model in enumerate(ranked)}
    first_s = requests[0].at_s
    arrivals = [TraceRequest(r.at_s - first_s, r.model, r.work) for r in requests]
    shares = {model: counts[model] / len(requests) for model in ranked}
    return Demand(sizes, shares, len(requests) / max(arrivals[-1].at_s, 1.0), arrivals)


def pooled_bound(demand: Demand, gpus: int) -> float:
    """The share of requests that find their model ready if all GPUs were one that knows the true rates. It keeps the most
    requested models that fit, one copy each, which costs fewest switch seconds: what leaves costs its size, as what comes."""
    room_gb, share = gpus * GPU_GB, 0.0
    for model, its_share in demand.popularity.items():
        if demand.sizes_gb[model] <= room_gb:
            room_gb -= demand.sizes_gb[model]
            share += its_share
    return share
