"""The least time that a switch's bytes need: what its efficiency is measured against."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.names import CPU
from engine.core.plans import LoadStep, Tier
from engine.core.records import Switch
from engine.core.state import State


def floor_s(state: State, switch: Switch) -> float | None:
    """Seconds that the bytes of its loads need, one load after the other; None when a rate has not been measured yet, and when no
    byte moves.

    Bytes are copied as fast as the fastest copy that was measured on the device, and come from disk as fast as the fastest
    reading that was, both at once. What was read before the switch waited for it counts as read. What preparing needs nobody
    can tell: only the copy behind it counts.
    """
    loads = switch.plan.loads
    read = from_disk(loads, switch.tier)
    copies_s = _sum([_copy_s(state, load) for load in loads])
    moves_s = _sum([_read_s(state, load) if load in read else _copy_s(state, load) for load in loads])
    if copies_s is None or moves_s is None:
        return None
    head_start_s = max(0.0, (switch.reading_s or 0.0) - switch.phases.read)
    return max(copies_s, moves_s - head_start_s) or None


def from_disk(loads: Sequence[LoadStep], tier: Tier | None) -> Sequence[LoadStep]:
    """Those of a switch's `loads` that read their slabs from disk. `tier` is where a single one really started; of several, it
    is taken that each started where it was planned to."""
    if len(loads) == 1 and tier is not None:
        return loads if tier == "disk" else ()
    return [load for load in loads if load.tier == "disk"]


def _read_s(state: State, load: LoadStep) -> float | None:
    """A reading, and the copy that runs behind it."""
    copy_s, rate = _copy_s(state, load), state.disk_bytes_per_s
    if copy_s is None or not rate:
        return None
    return max(copy_s, state.models[load.model].footprint.weights_bytes / rate)


def _copy_s(state: State, load: LoadStep) -> float | None:
    """The CPU runs from the RAM tier itself."""
    if load.device == CPU:
        return 0.0
    rate = state.devices[load.device].copy_bytes_per_s
    return state.models[load.model].footprint.weights_bytes / rate if rate else None


def _sum(seconds: Sequence[float | None]) -> float | None:
    known_s = [one_s for one_s in seconds if one_s is not None]
    return sum(known_s) if len(known_s) == len(seconds) else None
