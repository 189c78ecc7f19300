"""How old is what is known of a device, and how it is therefore to be shown: figures that are late are not taken for what is so
now, wherever they are shown."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.api import Snapshot
from engine.core.devices import STALE_S, Reading
from engine.core.names import BoxName, DeviceId, box_of

_TWO_LATE_S: Final = 2.0
"""Beside the pause between two readings: whoever reads seldom is not told so by each figure."""

MEASURED: Final = "benchmark"
"""Where there is no room for `quiet_text`."""


def quiet_text(sample_s: float) -> str:
    """That somebody measures, and what the engine does for it."""
    return f"{MEASURED}: sampling every {sample_s:g} s"


def age_s_of(snapshot: Snapshot, device: DeviceId, later_s: float = 0.0) -> float | None:
    """Seconds since the device last gave figures, `later_s` after the snapshot; None where it never did. By the wall clock where
    that was in an earlier engine's life: nobody has another. Never less than its box has been silent."""
    reading, box = snapshot.state.devices[device].reading, snapshot.boxes.get(box_of(device))
    least_s = box.silent_s if box is not None and box.standing != "ready" else 0.0
    if reading.mono_s is not None:
        return max(snapshot.mono_s - reading.mono_s, least_s) + later_s
    return max(snapshot.at_s - reading.at_s, least_s) + later_s if reading.at_s else None


def shown_reading(snapshot: Snapshot, device: DeviceId, later_s: float = 0.0) -> Reading:
    """The device's reading as it is to be shown `later_s` after the snapshot: stale when the next one has failed to come, and
    whatever it said when its box is not heard."""
    reading = snapshot.state.devices[device].reading
    if snapshot.boxes and (box := snapshot.boxes.get(name := box_of(device))) is not None and box.standing != "ready":
        return replace(reading, health="stale", reason="", cause=cause_of(name))
    if reading.health != "ok" or reading.mono_s is None:
        return reading
    age_s = age_s_of(snapshot, device, later_s)
    most_s = max(STALE_S, (snapshot.quiet_sample_s or snapshot.sample_s) + _TWO_LATE_S)
    if age_s is None or age_s < most_s:
        return reading
    return replace(reading, health="stale", reason="it has not been read since")


def cause_of(box: BoxName) -> str:
    """Under which all that a box's silence does is one trouble."""
    return f"box {box}"
