"""What the records say in figures: how full devices were and how well that was watched, how long switches took beside what was
predicted, and which models were put on the CPU, by themselves or because somebody asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from msgspec import Struct

from engine.bench.statistics import Spread, spread
from engine.core.insight.budget_use import BudgetMeter, BudgetUse
from engine.core.insight.fullest import Fullest, fullest
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Tier
from engine.core.records import Switch
from engine.recording.memory import PRESSURE_S, EngineFacts, Sample
from engine.results.recorded import ReportRecords

_LATE: Final = 1.5
"""A sample that comes later than so many intervals after the one before is a gap."""


class DeviceUse(Struct, frozen=True):
    """How full a device was."""

    device: DeviceId
    of_budget: BudgetUse
    """What models took of what the engine may fill."""
    of_total: BudgetUse | None
    """What was in use of all of its memory, others' included; None when it never told."""


class Pressure(Struct, frozen=True):
    """From one eviction of a model for another to the next, where that came within a minute."""

    of_budget: BudgetUse
    """Of all GPUs' budgets together."""
    of_total: BudgetUse | None
    """Of all GPUs' memory together, what was in use, others' included; None when a GPU did not tell."""


class Monitoring(Struct, frozen=True):
    """How well memory was watched."""

    since_s: float
    until_s: float
    samples: int
    longest_gap_s: float
    """Between two samples of one engine; 0 with a single sample."""
    gaps: int
    """How many samples came late."""
    oldest_s: float | None
    """The greatest age of a healthy device's figures in any sample; None when none was healthy."""


class _Span(NamedTuple):
    """A sample, and for how long it speaks."""

    sample: Sample
    seconds: float


def device_uses(samples: Sequence[Sample], engines: Sequence[EngineFacts]) -> tuple[DeviceUse, ...]:
    """By device, in the engine's order; a device that never had a budget is left out."""
    spans = _spans(samples, engines)
    totals = {spec.id: spec.total_bytes for spec in engines[-1].devices}
    uses = (_use(device, total_bytes, spans) for device, total_bytes in totals.items())
    return tuple(use for use in uses if use is not None)


def pressure(samples: Sequence[Sample], engines: Sequence[EngineFacts], switches: Iterable[Switch]) -> Pressure | None:
    """None when no two models were evicted for others within a minute."""
    spells = _spells(switches)
    spans = [one for one in _spans(samples, engines) if any(a <= one.sample.at_s < b for a, b in spells)]
    totals = {spec.id: spec.total_bytes for spec in engines[-1].devices if spec.id != CPU}
    filled = [(share, span.seconds) for span in spans if (share := _filled(span.sample)) is not None]
    used = [(share, span.seconds) for span in spans if (share := _used(span.sample, totals)) is not None]
    of_budget = _use_of(filled)
    return None if of_budget is None else Pressure(of_budget, _use_of(used))


def could_have_filled(recorded: ReportRecords) -> Fullest | None:
    """How full the GPUs could have been for the demand that was recorded; None without any."""
    if recorded.demand is None or not recorded.samples:
        return None
    sizes = {model.name: model.footprint_bytes for model in recorded.facts.models}
    for sample in recorded.samples:  # what they took in the end tells more than what was known when the engine started
        sizes |= {name: size_bytes for device in sample.devices for name, size_bytes in device.models.items()}
    budgets = {device.id: device.budget_bytes for device in recorded.samples[-1].devices if device.id != CPU}
    return fullest(Counter(request.model for request in recorded.demand.requests), sizes, budgets)


def monitoring(samples: Sequence[Sample], engines: Sequence[EngineFacts]) -> Monitoring | None:
    """None without a sample."""
    if not samples:
        return None
    interval_s = engines[-1].interval_s
    steps_s = [later.at_s - earlier.at_s for earlier, later in _neighbours(samples, engines)]
    late = sum(step_s > _LATE * interval_s for step_s in steps_s)
    return Monitoring(
        samples[0].at_s, samples[-1].at_s, len(samples), max(steps_s, default=0.0), late, _oldest_s(samples)
    )


def _spans(samples: Sequence[Sample], engines: Sequence[EngineFacts]) -> list[_Span]:
    """Each sample speaks until the next one of its engine, yet not for longer than a sample may be late."""
    longest_s = _LATE * engines[-1].interval_s
    return [_Span(a, min(b.at_s - a.at_s, longest_s)) for a, b in _neighbours(samples, engines)]


def _neighbours(samples: Iterable[Sample], engines: Iterable[EngineFacts]) -> list[tuple[Sample, Sample]]:
    """Consecutive samples of the same engine: between the last of one and the first of the next nobody could watch."""
    starts_s = [facts.at_s for facts in engines]
    return [(a, b) for a, b in pairwise(samples) if not any(a.at_s < start_s <= b.at_s for start_s in starts_s)]


def _oldest_s(samples: Iterable[Sample]) -> float | None:
    healthy = (device for sample in samples for device in sample.devices if device.health == "ok")
    return max((device.age_s for device in healthy if device.age_s is not None), default=None)


def _use(device: DeviceId, total_bytes: int, spans: Iterable[_Span]) -> DeviceUse | None:
    seen = [(one, span.seconds) for span in spans for one in span.sample.devices if one.id == device]
    of_budget = [(one.models_bytes / one.budget_bytes, seconds) for one, seconds in seen if one.budget_bytes]
    of_total = [(one.used_bytes / total_bytes, seconds) for one, seconds in seen if one.used_bytes is not None]
    use = _use_of(of_budget)
    return None if use is None else DeviceUse(device, use, _use_of(of_total))


def _spells(switches: Iterable[Switch]) -> list[tuple[float, float]]:
    """Begin and end of the times between two evictions for room that belong together."""
    evicted = [s.at_s + s.total_s for s in switches if s.outcome == "done" and s.plan.victims]
    return [(a, b) for a, b in pairwise(sorted(evicted)) if b - a <= PRESSURE_S]


def _filled(sample: Sample) -> float | None:
    """The share of all GPUs' budgets that models fill; None without a budget."""
    gpus = [device for device in sample.devices if device.id != CPU]
    budget_bytes = sum(gpu.budget_bytes for gpu in gpus)
    return sum(gpu.models_bytes for gpu in gpus) / budget_bytes if budget_bytes else None


def _used(sample: Sample, totals: Mapping[DeviceId, int]) -> float | None:
    """The share of all GPUs' memory that is in use; None when one does not tell."""
    used = [device.used_bytes for device in sample.devices if device.id in totals]
    known = [used_bytes for used_bytes in used if used_bytes is not None]
    return sum(known) / sum(totals.values()) if known and len(known) == len(totals) else None


def _use_of(held: Iterable[tuple[float, float]]) -> BudgetUse | None:
    """Of shares and for how long each was seen, with gaps between them."""
    meter = BudgetMeter()
    for share, seconds in held:
        meter.hold(share, seconds)
    return meter.use


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


class Fallbacks(Struct, frozen=True):
    """Loads of one model on the CPU. What a restarted engine only brought back is not counted."""

    model: ModelName
    by_itself: int
    """A request needed the model, and no GPU had room."""
    asked_for: int
    failed: int


def fallbacks(switches: Iterable[Switch]) -> tuple[Fallbacks, ...]:
    """By model; those that were never put there are left out."""
    to_cpu: dict[ModelName, list[Switch]] = {}
    for switch in switches:
        for load in switch.plan.loads if switch.origin != "restore" else ():
            if load.device == CPU:
                to_cpu.setdefault(load.model, []).append(switch)
    return tuple(_counted(model, to_cpu[model]) for model in sorted(to_cpu))


def _counted(model: ModelName, switches: Iterable[Switch]) -> Fallbacks:
    ends = [(switch.outcome, switch.origin == "request") for switch in switches]
    return Fallbacks(
        model,
        by_itself=ends.count(("done", True)),
        asked_for=ends.count(("done", False)),
        failed=sum(outcome == "failed" for outcome, _ in ends),
    )
