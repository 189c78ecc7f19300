"""What the console remembers of the past: memory and sensors of each device and requests of each model, in buckets of equal
length.

Buckets begin at whole multiples of their length, so that a graph of them moves on once a bucket and not with every sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from engine.api import Snapshot
from engine.core.names import DeviceId, ModelName

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
    busy: dict[DeviceId, Track] = {}
    """The most that each device was busy, in percent; no track for one that never told."""
    heat: dict[DeviceId, Track] = {}
    """The same of its temperature, in °C."""
    power: dict[DeviceId, Track] = {}
    """The same of what it drew, in W."""
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
    readings = {name: device.reading for name, device in snapshot.state.devices.items()}
    tier_bytes = sum(slab.size_bytes for slab in snapshot.state.tier_slabs)
    return GraphHistory(
        bucket,
        _highest(history.memory, steps, {**{n: r.used_bytes for n, r in readings.items()}, TIER: tier_bytes}),
        _told(history.busy, steps, {n: r.utilization_percent for n, r in readings.items()}),
        _told(history.heat, steps, {n: r.temperature_c for n, r in readings.items()}),
        _told(history.power, steps, {n: None if r.power_w is None else round(r.power_w) for n, r in readings.items()}),
        {n: _counted(_moved_on(history.requests.get(n, ()), steps), came[n]) for n in known},
        totals,
    )


def _highest(
    tracks: Mapping[DeviceId, Track], steps: int, figures: Mapping[DeviceId, int | None]
) -> dict[DeviceId, Track]:
    """The tracks with the highest of each bucket, one more look included."""
    found: dict[DeviceId, Track] = {}
    for name, figure in figures.items():
        track = tracks.get(name, ())
        if steps > 0 or not track:
            track = _moved_on(track, steps)
        # Of hundreds of devices few are at their highest: the others' tracks stay what they are.
        if figure is not None and ((newest := track[-1]) is None or newest < figure):
            track = (*track[:-1], figure)
        found[name] = track
    return found


def _told(
    tracks: Mapping[DeviceId, Track], steps: int, figures: Mapping[DeviceId, int | None]
) -> dict[DeviceId, Track]:
    """The same of devices that tell such a figure, or have told one."""
    return _highest(tracks, steps, {n: figure for n, figure in figures.items() if figure is not None or n in tracks})


def _came(before: Mapping[ModelName, int], name: ModelName, total: int) -> int:
    """Requests since the last look; none at the first one, nor when another engine counts from the beginning."""
    return max(total - before.get(name, total), 0)


def _moved_on(track: Track, steps: int) -> Track:
    """With `steps` new buckets, of which nothing is known yet; a track that only begins has the newest one."""
    return track if track and steps <= 0 else (*track, *(None,) * steps)[-KEPT:] or (None,)


def _counted(track: Track, came: int) -> Track:
    return (*track[:-1], (track[-1] or 0) + came)
