"""Policies side by side on one trace and one box, requests at their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from engine.core.names import ModelName
from engine.core.policy import Eviction, Policy
from engine.replay.box import Box
from engine.replay.trace import Request
from engine.simulation.compute import Compute
from engine.simulation.figures import TimedOutcome
from engine.simulation.timed import replay_timed


class TimedComparison(Struct, frozen=True):
    """What each policy did."""

    box: Box
    compute: Compute
    sizes: dict[ModelName, int]
    policies: dict[Eviction, TimedOutcome]


def compare_timed(
    requests: Sequence[Request],
    box: Box,
    compute: Compute,
    sizes: Mapping[ModelName, int],
    evictions: Sequence[Eviction],
) -> TimedComparison:
    """Replay `requests` at their times once for each of `evictions`. Raises TraceError for a model that no GPU can hold."""
    return TimedComparison(
        box=box,
        compute=compute,
        sizes=dict(sizes),
        policies={name: replay_timed(requests, box, compute, sizes, Policy(eviction=name)) for name in evictions},
    )
