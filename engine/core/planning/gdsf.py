"""GDSF: GreedyDual with size and frequency, the policy of many web caches.

A model's priority is what it was used and what it costs to bring back for each byte, above an inflation that rises to the
highest priority that has left: whoever is not asked for any more is overtaken in the end. Cherkasova, "Improving WWW proxies
performance with Greedy-Dual-Size-Frequency caching policy", HP Labs HPL-98-69R1, 1998.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.core.forecast.costs import reload_s
from engine.core.state import Demand, Resident, State

_GB: Final = 1e9


def priority(demand: Demand, size_bytes: int, reloading_s: float) -> float:
    """Requests × seconds of reloading for each GB, above the inflation at the last request. The lowest leaves first."""
    return demand.inflation + demand.requests * reloading_s * _GB / max(size_bytes, 1)


def inflated(state: State, leaving: Resident) -> State:
    """`state` as `leaving` takes its priority with it."""
    demand = state.models[leaving.model].demand
    taken = priority(demand, leaving.footprint.total_bytes, reload_s(state, leaving))
    return replace(state, inflation=max(state.inflation, taken))
