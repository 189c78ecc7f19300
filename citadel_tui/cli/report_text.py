"""The results document, section by section, in Markdown."""

from __future__ import annotations

from typing import Final

from citadel_tui.cli.markdown import moment, percent, rows
from citadel_tui.cli.results_reference import reference
from citadel_tui.cli.results_strategy import strategy
from citadel_tui.cli.results_switching import predictions, switching
from citadel_tui.text import clean
from citadel_tui.words.figures import age_text, count_text
from citadel_tui.words.labels import Label, model_label
from engine.core.names import CPU
from engine.core.sizes import format_size
from engine.results.criteria import criteria
from engine.results.fallbacks import fallbacks
from engine.results.recorded import Recorded
from engine.results.figures import Share, device_uses, monitoring, pressure
from engine.results.switching import loads_by_device

TITLE: Final = "# GPU memory allocation strategy: results"


def document(recorded: Recorded, now_s: float) -> str:
    """The whole of it, written at `now_s` seconds since the epoch."""
    label = _labels(recorded)
    sections = [
        ("", _origin(recorded, now_s)),
        ("Success criteria", _criteria(recorded)),
        ("Devices", _devices(recorded)),
        ("Models", _models(recorded)),
        ("Strategy", strategy(recorded.facts.hello.policy)),
        ("Utilisation", _utilization(recorded)),
        ("Switch latency", switching(recorded.switches, label)),
        ("Predictions", predictions(recorded.switches)),
        ("Load balance", _balance(recorded)),
        ("CPU fallbacks", _fallbacks(recorded, label)),
        ("Demand", _demand(recorded, label)),
        ("Monitoring", _monitoring(recorded)),
        ("The reference box, by calculation", reference()),
    ]
    return "\n\n".join([TITLE, *(f"## {name}\n\n{text}" if name else text for name, text in sections)]) + "\n"


def _labels(recorded: Recorded) -> Label:
    synthetic = {model.name for model in recorded.facts.models if model.synthetic}
    return lambda name: model_label(name, synthetic=name in synthetic)


def _origin(recorded: Recorded, now_s: float) -> str:
    facts, machine = recorded.facts, recorded.facts.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    paragraphs = [
        f"Written by Citadel {facts.hello.version} at {moment(now_s)} from what the engine recorded on {clean(machine.host)} "
        f"since {moment(recorded.engines[0].at_s)}, when it first ran on this configuration: {clean(machine.cpu)}, "
        f"{machine.cores} cores, {format_size(machine.memory_bytes)} of RAM, Linux {clean(machine.kernel)}, "
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


def _criteria(recorded: Recorded) -> str:
    cells = [
        (one.name, one.target, one.figure, f"**{one.verdict}**" + (f" (wanting: {one.wanting})" if one.wanting else ""))
        for one in criteria(recorded)
    ]
    return rows(("criterion", "target", "measured", "verdict"), cells)


def _devices(recorded: Recorded) -> str:
    cells = [
        (spec.id, spec.title, format_size(spec.total_bytes), percent(spec.fraction)) for spec in recorded.facts.devices
    ]
    return rows(("device", "what it is", "memory", "of it for models, at most"), cells)


def _models(recorded: Recorded) -> str:
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
    return rows(("model", "task", "dtype", "footprint when the engine started", "weights from"), cells)


def _utilization(recorded: Recorded) -> str:
    uses = device_uses(recorded.samples, recorded.engines)
    if not uses:
        return "Nothing was recorded."
    cells = [(use.device, *_share(use.of_budget), *_share(use.of_total)) for use in uses]
    table = rows(("device", "budget, mean", "budget, peak", "device, mean", "device, peak"), cells)
    return f"Models' share of the budget, and all memory in use as a share of the device.\n\n{table}\n\n{_pressure(recorded)}"


def _pressure(recorded: Recorded) -> str:
    found = pressure(recorded.samples, recorded.engines, recorded.switches)
    if found is None:
        return "No two models were evicted for others within a minute: memory was never under pressure."
    return (
        "Under pressure (from one eviction of a model for another to the next, where that came within a minute; "
        f"{age_text(found.seconds)} in all) models filled {percent(found.of_budget.mean)} of the GPUs' budget on average, "
        f"{percent(found.of_budget.peak)} at most; of all their memory {_mean_and_peak(found.of_total)} was in use."
    )


def _share(share: Share | None) -> tuple[str, str]:
    return ("-", "-") if share is None else (percent(share.mean), percent(share.peak))


def _mean_and_peak(share: Share | None) -> str:
    return "an unknown share" if share is None else f"{percent(share.mean)} on average, {percent(share.peak)} at most,"


def _balance(recorded: Recorded) -> str:
    loads = loads_by_device(recorded.switches)
    uses = [use for use in device_uses(recorded.samples, recorded.engines) if use.device != CPU]
    if not uses:
        return "There is no GPU to balance, or nothing was recorded."
    cells = [(use.device, str(loads.get(use.device, 0)), percent(use.of_budget.mean)) for use in uses]
    means = [use.of_budget.mean for use in uses]
    apart = f"The fullest and the emptiest GPU were {100 * (max(means) - min(means)):.1f} percentage points apart on average."
    return f"{rows(('GPU', 'loads', 'budget filled, mean'), cells)}\n\n{apart}"


def _fallbacks(recorded: Recorded, label: Label) -> str:
    found = fallbacks(recorded.switches)
    if not found:
        return "No model was put on the CPU."
    cells = [(label(one.model), str(one.by_itself), str(one.asked_for), str(one.failed)) for one in found]
    return rows(("model", "because no GPU had room", "asked for", "failed"), cells)


def _demand(recorded: Recorded, label: Label) -> str:
    if recorded.demand is None:
        return "No request was recorded."
    requests = recorded.demand.requests
    counts = {name: sum(request.model == name for request in requests) for name in {r.model for r in requests}}
    cells = [(label(name), str(counts[name])) for name in sorted(counts, key=lambda name: (-counts[name], name))]
    began_s, ended_s = (recorded.demand.began_s + request.at_s for request in (requests[0], requests[-1]))
    span = f"{count_text(len(requests), 'request', 'requests')} from {moment(began_s)} to {moment(ended_s)}."
    return f"{span}\n\n{rows(('model', 'requests'), cells)}"


def _monitoring(recorded: Recorded) -> str:
    found = monitoring(recorded.samples, recorded.engines)
    if found is None:
        return "Nothing was recorded."
    return (
        f"{found.samples} samples since {moment(found.since_s)}, the last at {moment(found.until_s)}; starts of the engine: "
        f"{len(recorded.engines)}. One is due every {recorded.facts.interval_s:g} s, and more often "
        f"while models are evicted for others; the longest step between two was {found.longest_gap_s:.1f} s, "
        f"and {found.gaps} came late. "
        + (
            "No device was healthy."
            if found.oldest_s is None
            else f"The oldest figures were {found.oldest_s:.1f} s old."
        )
    )
