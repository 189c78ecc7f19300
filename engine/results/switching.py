"""How long switches took, and how well that was predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from engine.bench.statistics import Spread, spread
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Tier
from engine.core.records import Switch

_QUICKEST_FIRST: Final[tuple[Tier, ...]] = ("ram", "disk", "source")


class Latency(Struct, frozen=True):
    """Switches of one kind, in seconds."""

    model: ModelName
    tier: Tier
    total: Spread
    moving: Spread
    """Without the waits for room and for running uses to end."""
    efficiency: float | None
    """Median of floor ÷ measured copy, bind and warm-up; None without a measured copy rate."""


class Calibration(Struct, frozen=True):
    """Predicted beside measured, over the loads on GPUs that were carried out from one tier."""

    tier: Tier
    switches: int
    within_p90: float
    """Share of them that took no longer than was predicted for nine in ten."""
    median_ratio: float
    """Of measured ÷ predicted."""


def to_gpus(switches: Iterable[Switch]) -> tuple[Switch, ...]:
    """Those that were carried out and brought one model to a GPU."""
    done = (switch for switch in switches if switch.outcome == "done")
    return tuple(s for s in done if len(s.plan.loads) == 1 and s.plan.loads[0].device != CPU)


def is_prepared(switch: Switch) -> bool:
    """Whether its load started from prepared weights: preparing happens once a model and is no part of switching."""
    return switch.tier in ("ram", "disk")


def latencies(switches: Iterable[Switch]) -> tuple[Latency, ...]:
    """By model and by the tier where the load really started, in that order."""
    kinds: dict[tuple[ModelName, Tier], list[Switch]] = {}
    for switch in to_gpus(switches):
        if switch.tier is not None:
            kinds.setdefault((switch.plan.loads[0].model, switch.tier), []).append(switch)
    return tuple(_latency(model, tier, kinds[model, tier]) for model, tier in sorted(kinds))


def calibrations(switches: Iterable[Switch]) -> tuple[Calibration, ...]:
    """By the tier where the load really started, the quickest first; of tiers from which a load was predicted."""
    predicted = [switch for switch in to_gpus(switches) if switch.predicted.p50_s > 0]
    from_tiers = ((tier, [s for s in predicted if s.tier == tier]) for tier in _QUICKEST_FIRST)
    return tuple(_calibration(tier, found) for tier, found in from_tiers if found)


def loads_by_device(switches: Iterable[Switch]) -> dict[DeviceId, int]:
    """How many loads each device took."""
    loads: dict[DeviceId, int] = {}
    for switch in switches:
        for load in switch.plan.loads if switch.outcome == "done" else ():
            loads[load.device] = loads.get(load.device, 0) + 1
    return loads


def _calibration(tier: Tier, switches: Sequence[Switch]) -> Calibration:
    within = sum(switch.moving_s <= switch.predicted.p90_s for switch in switches)
    ratio = median(switch.moving_s / switch.predicted.p50_s for switch in switches)
    return Calibration(tier, len(switches), within / len(switches), ratio)


def _latency(model: ModelName, tier: Tier, switches: Sequence[Switch]) -> Latency:
    shares = [switch.efficiency for switch in switches if switch.efficiency is not None]
    return Latency(
        model,
        tier,
        spread([switch.total_s for switch in switches]),
        spread([switch.moving_s for switch in switches]),
        median(shares) if shares else None,
    )
