"""How old is what is known of a device, and how it is therefore to be shown: figures that are late are not taken for what is so
now, wherever they are shown."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.api import Snapshot
from engine.core.devices import STALE_S, Reading
from engine.core.names import DeviceId

_TWO_LATE_S: Final = 2.0
"""Beside the pause between two readings: whoever reads seldom is not told so by each figure."""


def age_s_of(snapshot: Snapshot, device: DeviceId, later_s: float = 0.0) -> float | None:
    """Seconds since the device last gave figures, `later_s` after the snapshot; None where it never did. By the wall clock where
    that was in an earlier engine's life: nobody has another."""
    reading = snapshot.state.devices[device].reading
    if reading.mono_s is not None:
        return max(snapshot.mono_s - reading.mono_s, 0.0) + later_s
    return max(snapshot.at_s - reading.at_s, 0.0) + later_s if reading.at_s else None


def shown_reading(snapshot: Snapshot, device: DeviceId, later_s: float = 0.0) -> Reading:
    """The device's reading as it is to be shown `later_s` after the snapshot: stale when the next one has failed to come."""
    reading, age_s = snapshot.state.devices[device].reading, age_s_of(snapshot, device, later_s)
    most_s = max(STALE_S, (snapshot.quiet_sample_s or snapshot.sample_s) + _TWO_LATE_S)
    if reading.health != "ok" or reading.mono_s is None or age_s is None or age_s < most_s:
        return reading
    return replace(reading, health="stale", reason="it has not been read since")
