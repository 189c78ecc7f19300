"""What the console remembers of the past: memory of each device and requests of each model, in buckets of equal length.

Buckets begin at whole multiples of their length, so that a graph of them moves on once a bucket and not with every sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from engine.api import Snapshot
from engine.core.names import DeviceId, ModelName
from engine.core.planning.ram_tier import tier_slabs

BUCKET_S: Final = 10
KEPT: Final = 360
"""Buckets: an hour."""
TIER: Final = "ram"
"""The RAM tier's place among the devices."""

Track: TypeAlias = tuple[int | None, ...]
"""A figure for each bucket, oldest first; None where it is not known."""


class GraphHistory(Struct, frozen=True):
    """The last hour, as far as the console saw it."""

    bucket: int = 0
    """Number of the newest bucket: seconds since the epoch ÷ BUCKET_S."""
    memory: dict[DeviceId, Track] = {}
    """The most bytes that were in use within each bucket."""
    requests: dict[ModelName, Track] = {}
    """Requests that came within each bucket."""
    totals: dict[ModelName, int] = {}
    """Requests that the engine had counted at the last look."""


def with_snapshot(history: GraphHistory, snapshot: Snapshot, now_s: float) -> GraphHistory:
    """`history` with one more look at what goes on."""
    bucket = int(now_s // BUCKET_S)
    # A first look begins one bucket. One after a long silence moves on by an hour at most, all that is kept; one after the clock
    # was set back moves on by nothing (a tuple times a negative number is empty) and fills the newest bucket on.
    steps = min(bucket - history.bucket, KEPT) if history.bucket else 1
    totals = {name: model.demand.requests for name, model in snapshot.state.models.items()}
    came = {name: _came(history.totals, name, total) for name, total in totals.items()}
    known = {name for name, count in came.items() if count} | (history.requests.keys() & totals.keys())
    return GraphHistory(
        bucket,
        {n: _highest(_moved_on(history.memory.get(n, ()), steps), used) for n, used in _in_use(snapshot).items()},
        {n: _counted(_moved_on(history.requests.get(n, ()), steps), came[n]) for n in known},
        totals,
    )


def _in_use(snapshot: Snapshot) -> dict[DeviceId, int | None]:
    used = {name: device.reading.used_bytes for name, device in snapshot.state.devices.items()}
    return {**used, TIER: sum(slab.size_bytes for slab in tier_slabs(snapshot.state))}


def _came(before: Mapping[ModelName, int], name: ModelName, total: int) -> int:
    """Requests since the last look; none at the first one, nor when another engine counts from the beginning."""
    return max(total - before.get(name, total), 0)


def _moved_on(track: Track, steps: int) -> Track:
    """With `steps` new buckets, of which nothing is known yet; a track that only begins has the newest one."""
    return (*track, *(None,) * steps)[-KEPT:] or (None,)


def _highest(track: Track, used: int | None) -> Track:
    known = [value for value in (track[-1], used) if value is not None]
    return (*track[:-1], max(known, default=None))


def _counted(track: Track, came: int) -> Track:
    return (*track[:-1], (track[-1] or 0) + came)
