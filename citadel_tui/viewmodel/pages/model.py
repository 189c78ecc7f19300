"""One model in full: what the catalog says, what it needs, where it is, how it is used, and its last switches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

from citadel_tui.viewmodel.log import log_lines
from citadel_tui.viewmodel.over_time import demand_lines
from citadel_tui.viewmodel.pages.switch import switch_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.place_names import place_text
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.scene import Scene, loads
from citadel_tui.viewmodel.spans import Line, Span, wrapped
from citadel_tui.words.figures import age_text, clock_text, count_text, leaves_in_text, seconds_text
from citadel_tui.words.labels import ASKED_BY, FROM, labels
from citadel_tui.words.records import decisions
from citadel_tui.words.requests import answered_text, at_work_text, nothing_text
from engine.core.insight.why import explain
from engine.core.models import Footprint
from engine.core.names import ModelName
from engine.core.plans import EvictStep, LoadStep, PinStep, UnpinStep
from engine.core.records import Pinned, Record, Switch
from engine.core.sizes import format_size, mib_range
from engine.core.state import ModelState, Resident

_SHOWN: Final = 12
_LABEL: Final = 10
_KEPT: Final = 5
"""Earlier switches that the page lists."""


def model_lines(scene: Scene, model: ModelName, paper: Paper) -> tuple[Line, ...]:
    """The page of `model`; one line when the engine no longer knows it."""
    state = scene.snapshot.state.models.get(model) if scene.snapshot else None
    if scene.snapshot is None or state is None:
        return fact("model", "the engine's catalog has no such model", paper.width, _LABEL, "bad")
    about = [r for r in scene.records if isinstance(r.entry, Switch) and loads(r.entry, model)]
    return (
        *_spec_lines(state, paper),
        *section("Now", _now_lines(scene, state, scene.snapshot.state.of(model), paper)),
        *demand_lines(scene, model, paper),
        *residency_lines(scene, model, paper),
        *why_lines(scene, model, paper),
        *_last_switch(about, paper),
        *section("Switches before", log_lines(about[:-1][-_KEPT:], paper).values()),
    )


def _spec_lines(state: ModelState, paper: Paper) -> tuple[Line, ...]:
    spec = state.spec
    limits = f"{count_text(spec.limits.max_batch, 'row', 'rows')} of {spec.limits.max_sequence} tokens"
    cut = ", longer texts are cut" if spec.limits.truncate else ""
    facts = {
        "task": f"{spec.task}, {spec.dtype}, at most {limits}{cut}",
        "limit": paper.text(state.remark),
        "source": paper.text(state.source or ", ".join(spec.sources)) + _revision(state),
        "weights": "synthetic: random, made from the real configuration" if state.synthetic else "real",
        "footprint": footprint_text(state.footprint),
        "runs": paper.text(runs_text(state.footprint)),
        "pin": _pin_text(state),
        "prefers": spec.preferred_device or "",
        "trouble": paper.text(state.trouble),
    }
    warn = {"trouble"} | ({"weights"} if state.synthetic else set())
    lines = (fact(k, v, paper.width, _LABEL, "warn" if k in warn else "text") for k, v in facts.items() if v)
    return tuple(line for found in lines for line in found)


def footprint_text(footprint: Footprint) -> str:
    """Bytes on a device, part by part, and how they are known."""
    weights, workspace = format_size(footprint.weights_bytes), format_size(footprint.workspace_bytes)
    return f"{format_size(footprint.total_bytes)} {footprint.label}: {weights} weights + {workspace} workspace"


def runs_text(footprint: Footprint) -> str:
    """What runs were measured to need, and whether they tell anything of the limits; empty where none was measured."""
    if footprint.runs is None or footprint.run_bytes is None:
        return ""
    runs = footprint.runs
    near = f"{runs.near_limits or 'none'} of the newest came near the limits"
    if not runs.near_limits and footprint.label != "learned":
        near += ": the estimate stays, lower limits would give room back"
    return f"{mib_range(*footprint.run_bytes)} with weights, {runs.count} measured; {near}"


def _revision(state: ModelState) -> str:
    return f" at {state.spec.revision[:12]}" if state.spec.revision and not state.synthetic else ""


def _pin_text(state: ModelState) -> str:
    if state.pin is None:
        return "none: may leave when another model needs the room"
    return f"stays on {state.pin.device}" if state.pin.device else "never a victim"


def _now_lines(scene: Scene, state: ModelState, residents: tuple[Resident, ...], paper: Paper) -> tuple[Line, ...]:
    demand = state.demand
    last = f", last {age_text(scene.now_s - demand.last_s)} ago" if demand.last_s is not None else ""
    requests = f"{demand.requests} since the engine started, {demand.per_minute:.1f} a minute{last}"
    lines = list(fact("requests", requests, paper.width, _LABEL))
    lines.extend(_figure_lines(scene, state, paper))
    for resident in residents:
        left = leaves_in_text(scene.snapshot.state, (resident,), scene.now_s) if scene.snapshot else ""
        idle = f", leaves in {left} if nobody asks for it" if left else ""
        text = f"{resident.stage} for {age_text(scene.now_s - resident.since_s)}, leases: {resident.leases}{idle}"
        lines.extend(fact(place_text(resident.device, _LABEL), text, paper.width, _LABEL))
    if not residents:
        lines.extend(fact("where", "on no device", paper.width, _LABEL))
    for job in scene.jobs_of(state.spec.name):
        wait = f", waits for {paper.text(job.waiting_for)}" if job.waiting_for else ""
        lines.extend(fact("under way", f"{job.phase}{wait}", paper.width, _LABEL, "warn"))
    return tuple(lines)


def _figure_lines(scene: Scene, state: ModelState, paper: Paper) -> Iterator[Line]:
    """How its requests fare, where any came."""
    figures = scene.snapshot.requests.get(state.spec.name) if scene.snapshot else None
    if figures is None:
        return
    task = state.spec.task
    facts = {
        "at work": at_work_text(figures, task),
        "answers": answered_text(figures, task),
        "besides": nothing_text(figures),
    }
    for label, text in facts.items():
        if text:
            yield from fact(label, text, paper.width, _LABEL)


def _last_switch(about: list[Record], paper: Paper) -> tuple[Line, ...]:
    newest = next((r.entry for r in reversed(about) if isinstance(r.entry, Switch)), None)
    return section("Last switch", switch_lines(newest, paper)) if newest else ()


# ── its past ──────────────────────────────────────────────────────────────────────────────────────


def residency_lines(scene: Scene, model: ModelName, paper: Paper) -> tuple[Line, ...]:
    """The section of the model's page, newest first; none when nothing is remembered."""
    newest_first = [text for record in reversed(scene.records) for text in _texts(record.entry, model)]
    return section("Where it has been", sentences(newest_first[:_SHOWN], paper))


def _texts(entry: object, model: ModelName) -> Iterator[str]:
    if not isinstance(entry, Switch | Pinned) or (isinstance(entry, Switch) and entry.outcome != "done"):
        return
    for step in reversed(entry.plan.steps):
        if step.model == model:
            yield f"{clock_text(entry.at_s)}  {_step_text(step, entry)}, asked by {ASKED_BY[entry.origin]}"


def _step_text(step: EvictStep | LoadStep | PinStep | UnpinStep, entry: Switch | Pinned) -> str:
    match step:
        case LoadStep():
            took = (
                f" in {seconds_text(entry.total_s)}" if isinstance(entry, Switch) and len(entry.plan.loads) == 1 else ""
            )
            return f"came to {step.device}{took}, {FROM[step.tier]}"
        case EvictStep(victim=True):
            return f"left {step.device} for {', '.join(load.model for load in entry.plan.loads)}"
        case EvictStep():
            return f"left {step.device}"
        case PinStep():
            return f"was pinned{f' to {step.device}' if step.device else ''}"
        case UnpinStep():
            return "was unpinned"
        case _:
            assert_never(step)


def why_lines(scene: Scene, model: ModelName, paper: Paper) -> tuple[Line, ...]:
    """What `citadel why` says of the past, as far as the console's records reach; nothing when none touched the model."""
    if scene.snapshot is None:
        return ()
    state = scene.snapshot.state
    explained = explain(state, scene.records, model)
    if explained.last is None:
        return ()
    paragraphs = decisions(explained, labels(state))
    return section("Why", (line for text in paragraphs for line in _lines(text, paper)))


def _lines(paragraph: str, paper: Paper) -> Iterator[Line]:
    """The paragraph's lines, wrapped behind their own indentation."""
    for text in paragraph.splitlines():
        margin = " " * (1 + len(text) - len(text.lstrip()))
        for piece in wrapped(paper.text(text), max(paper.width - len(margin), 1)):
            yield (Span(margin + piece),)
