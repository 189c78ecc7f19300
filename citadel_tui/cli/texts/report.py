"""The results document in Markdown, section by section in the order in which it is read.

Every figure is computed from what the engine has recorded, but for the last section: the reference box's are calculated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, assert_never

from citadel_tui.text import clean
from citadel_tui.words.figures import age_text, count_text, share_text
from citadel_tui.words.labels import Label, model_label
from engine.bench.statistics import Spread
from engine.core.insight.budget_use import BudgetUse
from engine.core.insight.reference_box import (
    BUDGET_BYTES,
    BUS_BYTES_PER_S,
    DISK_BYTES_PER_S,
    ReferenceRow,
    reference_table,
)
from engine.core.names import CPU
from engine.core.planning.eviction import eviction_policy
from engine.core.plans import Tier
from engine.core.policy import Balancing, Policy
from engine.core.records import SWITCH_TARGET_S, Switch
from engine.core.sizes import format_room, format_size
from engine.results.criteria import criteria
from engine.results.figures import (
    Calibration,
    Latency,
    calibrations,
    device_uses,
    fallbacks,
    latencies,
    loads_by_device,
    monitoring,
    pressure,
)
from engine.results.recorded import ReportRecords

TITLE: Final = "# GPU memory allocation strategy: results"
_TIERS: Final[dict[Tier, str]] = {"ram": "RAM tier", "disk": "disk", "source": "checkpoint"}


def document(recorded: ReportRecords, now_s: float) -> str:
    """The whole of it, written at `now_s` seconds since the epoch."""
    label = _labels(recorded)
    sections = [
        ("", _origin(recorded, now_s)),
        ("Success criteria", _criteria(recorded)),
        ("Devices", _devices(recorded)),
        ("Models", _models(recorded)),
        ("Strategy", _strategy(recorded.facts.hello.policy)),
        ("Utilisation", _utilization(recorded)),
        ("Switch latency", _switches(recorded.switches, label)),
        ("Predictions", _predictions(recorded.switches)),
        ("Load balance", _gpu_balance(recorded)),
        ("CPU fallbacks", _fallbacks(recorded, label)),
        ("Demand", _demand(recorded, label)),
        ("Monitoring", _monitoring(recorded)),
        ("The reference box, by calculation", _reference_box()),
    ]
    return "\n\n".join([TITLE, *(f"## {name}\n\n{text}" if name else text for name, text in sections)]) + "\n"


def _labels(recorded: ReportRecords) -> Label:
    synthetic = {model.name for model in recorded.facts.models if model.synthetic}
    return lambda name: model_label(name, synthetic=name in synthetic)


def _origin(recorded: ReportRecords, now_s: float) -> str:
    facts, machine = recorded.facts, recorded.facts.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    paragraphs = [
        f"Written by Citadel {facts.hello.version} at {_moment(now_s)} from what the engine recorded on {clean(machine.host)} "
        f"since {_moment(recorded.engines[0].at_s)}, when it first ran on this configuration: {clean(machine.cpu)}, "
        f"{machine.cores} cores, {format_room(machine.memory_bytes)} of RAM, Linux {clean(machine.kernel)}, "
        f"Python {machine.python}, {versions}. Every figure below is computed from those records; none was entered by hand."
    ]
    if facts.hello.banner:
        paragraphs.append(
            f"**Mind: {clean(facts.hello.banner)}.** No figure here tells how fast an NVIDIA card would be."
        )
    if synthetic := [model.name for model in facts.models if model.synthetic]:
        paragraphs.append(
            f"**Random weights:** {', '.join(map(clean, synthetic))}. Models marked *(synthetic)* have real shapes and random "
            "weights: their memory and their times are real, their answers mean nothing."
        )
    return "\n\n".join(paragraphs + [f"Left out: {clean(trouble)}." for trouble in recorded.troubles])


def _criteria(recorded: ReportRecords) -> str:
    cells = [
        (one.name, one.target, one.figure, f"**{one.verdict}**" + (f" (wanting: {one.wanting})" if one.wanting else ""))
        for one in criteria(recorded)
    ]
    return _table(("criterion", "target", "measured", "verdict"), cells)


def _devices(recorded: ReportRecords) -> str:
    cells = [
        (spec.id, spec.title, format_room(spec.total_bytes), share_text(spec.fraction))
        for spec in recorded.facts.devices
    ]
    return _table(("device", "what it is", "memory", "of it for models, at most"), cells)


def _models(recorded: ReportRecords) -> str:
    cells = [
        (
            model_label(model.name, synthetic=model.synthetic),
            model.task,
            model.dtype,
            "-" if model.trouble else format_size(model.footprint_bytes),
            model.trouble or model.source,
        )
        for model in recorded.facts.models
    ]
    return _table(("model", "task", "dtype", "footprint when the engine started", "weights from"), cells)


def _strategy(policy: Policy) -> str:
    """A list: how a model finds its place under `policy`."""
    loading = (
        "A request for a model that is not ready loads it."
        if policy.dynamic_loading
        else "Only the operator loads models (DYNAMIC_LOADING_ENABLED is off); a request for another one is refused."
    )
    fallback = (
        "A model that no GPU has room for runs on the CPU."
        if policy.cpu_fallback
        else "Nothing falls back to the CPU (CPU_FALLBACK_ENABLED is off): a model that no GPU has room for waits."
    )
    points = [
        loading,
        "A model that is on a GPU is used there. One that is not is offered to every healthy GPU.",
        _balancing_rule(policy.balancing),
        _eviction_rule(policy),
        "Pinned models, and models in use, never leave; one that has just come stays for at least "
        f"{policy.min_residency_s:g} s.",
        fallback,
    ]
    return "\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))


def _balancing_rule(balancing: Balancing) -> str:
    match balancing:
        case "spread":
            rule = "the one with the fewest models"
        case "pack":
            rule = "the fullest one"
        case "most_free":
            rule = "the one with the most room"
        case _:
            assert_never(balancing)
    return f"Where there is room, nothing leaves; among GPUs with room it is {rule} (balancing `{balancing}`)."


def _eviction_rule(policy: Policy) -> str:
    rule = eviction_policy(policy).rule(policy)
    return f"Where there is none, victims leave: over all GPUs, {rule} (eviction `{policy.eviction}`)."


def _utilization(recorded: ReportRecords) -> str:
    uses = device_uses(recorded.samples, recorded.engines)
    if not uses:
        return "Nothing was recorded."
    cells = [(use.device, *_mean_and_peak_cells(use.of_budget), *_mean_and_peak_cells(use.of_total)) for use in uses]
    table = _table(("device", "budget, mean", "budget, peak", "device, mean", "device, peak"), cells)
    return f"Models' share of the budget, and all memory in use as a share of the device.\n\n{table}\n\n{_pressure(recorded)}"


def _pressure(recorded: ReportRecords) -> str:
    found = pressure(recorded.samples, recorded.engines, recorded.switches)
    if found is None:
        return "No two models were evicted for others within a minute: memory was never under pressure."
    filled = found.of_budget
    return (
        "Under pressure (from one eviction of a model for another to the next, where that came within a minute; "
        f"{age_text(filled.seconds)} in all) models filled {share_text(filled.mean)} of the GPUs' budget on average, "
        f"{share_text(filled.peak)} at most; of all their memory {_mean_and_peak(found.of_total)} was in use."
    )


def _mean_and_peak_cells(use: BudgetUse | None) -> tuple[str, str]:
    return ("-", "-") if use is None else (share_text(use.mean), share_text(use.peak))


def _mean_and_peak(use: BudgetUse | None) -> str:
    return "an unknown share" if use is None else f"{share_text(use.mean)} on average, {share_text(use.peak)} at most,"


def _switches(switches: Sequence[Switch], label: Label) -> str:
    """Loads on GPUs in ms, those that had to prepare a model first apart."""
    found = latencies(switches)
    prepared = [one for one in found if one.tier != "source"]
    preparing = [one for one in found if one.tier == "source"]
    failed = sum(switch.outcome == "failed" for switch in switches)
    parts = [
        "Loads on GPUs, in ms. *Switch*: evicting victims, reading, copying, binding and a first run. *With waits*: from the "
        "command on, the waits for room and for running uses to end included. *Efficiency*: the time that the bytes need at the "
        "fastest copy measured, over copy, bind and first run.",
        _latency_table(prepared, label) if prepared else "No switch was recorded.",
    ]
    if preparing:
        parts += ["The first load of a model also prepares its weights, once:", _latency_table(preparing, label)]
    return "\n\n".join([*parts, f"Switches that failed: {failed}."])


def _latency_table(found: Sequence[Latency], label: Label) -> str:
    headings = ("model", "from", "switches", "p50", "p95", "max", "with waits p50", "p95", "max", "efficiency")
    return _table(headings, [_latency_cells(one, label) for one in found])


def _latency_cells(one: Latency, label: Label) -> tuple[str, ...]:
    efficiency = "-" if one.efficiency is None else f"{100 * one.efficiency:.0f} %"
    return (
        label(one.model),
        _TIERS[one.tier],
        str(one.moving.count),
        *_milliseconds(one.moving),
        *_milliseconds(one.total),
        efficiency,
    )


def _milliseconds(spread: Spread) -> tuple[str, str, str]:
    return f"{1000 * spread.p50:.0f}", f"{1000 * spread.p95:.0f}", f"{1000 * spread.largest:.0f}"


def _predictions(switches: Sequence[Switch]) -> str:
    """How the loads' times compare with what their plans had said."""
    found = calibrations(switches)
    if not found:
        return "No switch was predicted."
    headings = ("from", "loads", "within the time predicted for nine in ten", "measured ÷ predicted, median")
    text = "Loads on GPUs, with the evictions before them. Waits are not predicted, and not measured here."
    return f"{text}\n\n{_table(headings, [_prediction_cells(one) for one in found])}"


def _prediction_cells(one: Calibration) -> tuple[str, ...]:
    return _TIERS[one.tier], str(one.switches), share_text(one.within_p90), f"{one.median_ratio:.2f}"


def _gpu_balance(recorded: ReportRecords) -> str:
    loads = loads_by_device(recorded.switches)
    uses = [use for use in device_uses(recorded.samples, recorded.engines) if use.device != CPU]
    if not uses:
        return "There is no GPU to balance, or nothing was recorded."
    cells = [(use.device, str(loads.get(use.device, 0)), share_text(use.of_budget.mean)) for use in uses]
    means = [use.of_budget.mean for use in uses]
    apart = f"The fullest and the emptiest GPU were {100 * (max(means) - min(means)):.1f} percentage points apart on average."
    return f"{_table(('GPU', 'loads', 'budget filled, mean'), cells)}\n\n{apart}"


def _fallbacks(recorded: ReportRecords, label: Label) -> str:
    found = fallbacks(recorded.switches)
    if not found:
        return "No model was put on the CPU."
    cells = [(label(one.model), str(one.by_itself), str(one.asked_for), str(one.failed)) for one in found]
    return _table(("model", "because no GPU had room", "asked for", "failed"), cells)


def _demand(recorded: ReportRecords, label: Label) -> str:
    if recorded.demand is None:
        return "No request was recorded."
    requests = recorded.demand.requests
    counts = {name: sum(request.model == name for request in requests) for name in {r.model for r in requests}}
    cells = [(label(name), str(counts[name])) for name in sorted(counts, key=lambda name: (-counts[name], name))]
    began_s, ended_s = (recorded.demand.began_s + request.at_s for request in (requests[0], requests[-1]))
    span = f"{count_text(len(requests), 'request', 'requests')} from {_moment(began_s)} to {_moment(ended_s)}."
    return f"{span}\n\n{_table(('model', 'requests'), cells)}"


def _monitoring(recorded: ReportRecords) -> str:
    found = monitoring(recorded.samples, recorded.engines)
    if found is None:
        return "Nothing was recorded."
    return (
        f"{found.samples} samples since {_moment(found.since_s)}, the last at {_moment(found.until_s)}; starts of the engine: "
        f"{len(recorded.engines)}. One is due every {recorded.facts.interval_s:g} s, and more often "
        f"while models are evicted for others; the longest step between two was {found.longest_gap_s:.1f} s, "
        f"and {found.gaps} came late. "
        + (
            "No device was healthy."
            if found.oldest_s is None
            else f"The oldest figures were {found.oldest_s:.1f} s old."
        )
    )


def _reference_box() -> str:
    about = (
        f"Calculated, not measured: bytes over a bus of {BUS_BYTES_PER_S / 1e9:g} GB/s (PCIe 3.0, 4 lanes) and a disk of "
        f"{DISK_BYTES_PER_S / 1e9:g} GB/s; two cards with budgets of {BUDGET_BYTES / 1e9:g} GB. A switch is to take under "
        f"{SWITCH_TARGET_S:g} s."
    )
    headings = (
        "model",
        "dtype",
        "weights, GB",
        "from RAM, s",
        "from disk, s",
        "fits a card",
        f"under {SWITCH_TARGET_S:g} s",
    )
    return f"{about}\n\n{_table(headings, map(_reference_cells, reference_table()))}"


def _reference_cells(row: ReferenceRow) -> tuple[str, ...]:
    met = {"nothing": "yes, from disk too", "RAM tier": "from the RAM tier", "smaller dtype": "no"}[row.needs]
    return (
        row.model,
        row.dtype,
        f"{row.weights_bytes / 1e9:.2f}",
        f"{row.from_ram_s:.2f}",
        f"{row.from_disk_s:.2f}",
        "yes" if row.fits else "no",
        met,
    )


def _table(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """Nothing in a cell can end it."""
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join("| " + " | ".join(clean(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
