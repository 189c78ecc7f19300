"""The single rows around the table and the log: header, section rules, what is under way, and what the switches say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, justify, width_of
from citadel_tui.words.alerts import silence_text, under_way
from citadel_tui.words.boxes import fleet_in_brief, fleet_text
from citadel_tui.words.figures import age_text, clock_text, count_text, seconds_text
from citadel_tui.words.health import MEASURED, quiet_text
from engine.api import JobView
from engine.core.commands import command_text, models_of
from engine.core.ranks import nearest_rank
from engine.core.records import SWITCH_TARGET_S, Switch

_GAP: Final = Span("   ", "dim")


def header_line(scene: Scene, paper: Paper) -> Line:
    """Who and where, how the line is, and the time; the lesser parts go first when there is no room."""
    start: Line = (Span(" citadel", "title"),)
    if scene.hello is not None:
        # However long its name is, there is room for the time and for how the line is.
        start = (*start, Span(f"  {cut(paper.text(scene.hello.host), paper.width // 4, paper.glyphs.ellipsis)}"))
    end: Line = (Span(f" {clock_text(scene.now_s)} ", "dim"),)
    for wordings in _header_parts(scene, paper.glyphs):
        room = paper.width - width_of(start) - 2 - width_of((_GAP, *end))
        part = next((part for part in wordings if width_of((part,)) <= room), None)
        if part is None:
            break
        end = (part, _GAP, *end)
    return paper.filled(justify(start, end, paper.width))


def _header_parts(scene: Scene, glyphs: Glyphs) -> Iterator[tuple[Span, ...]]:
    """The parts beside the time, what matters most first; of each its wordings, the longest first."""
    yield (line_state(scene, glyphs),)
    shown = scene.snapshot
    if shown is not None and shown.quiet_sample_s is not None:
        yield Span(quiet_text(shown.quiet_sample_s), "warn"), Span(MEASURED, "warn")
    if scene.read_only:
        yield (Span("read-only", "warn"),)
    if shown is not None and shown.boxes:
        is_whole = all(box.standing == "ready" for box in shown.boxes.values())
        role: Role = "dim" if is_whole else "warn"
        yield Span(fleet_text(shown.boxes), role), Span(fleet_in_brief(shown.boxes), role)
    if scene.hello is not None and not scene.stale:
        what = "service" if shown is not None and shown.boxes else "engine"
        yield (Span(f"{what} up {_up(scene)}", "dim"),)
    if shown is not None and not shown.boxes:
        gpus = sum(device.spec.kind == "gpu" for device in shown.state.devices.values())
        yield (Span(count_text(gpus, "GPU", "GPUs"), "dim"),)


def line_state(scene: Scene, glyphs: Glyphs) -> Span:
    """How the line to the engine is, and how old what is shown is where that is not now."""
    if scene.lost is not None:
        return Span(f"{glyphs.lost} disconnected {age_text(scene.silent_s)}", "bad")
    if scene.snapshot is None:
        return Span(f"{glyphs.lost} connecting", "warn")
    if scene.stale:
        return Span(f"{glyphs.lost} silent {age_text(scene.silent_s)}", "bad")
    return Span(f"{glyphs.live} live", "good")


def stale_text(scene: Scene) -> str:
    """How old what is shown is, and why; empty while the engine gives signs of life."""
    if not scene.stale:
        return ""
    if scene.lost is None:
        return silence_text(scene.silent_s)
    doing = under_way(scene.snapshot) if scene.snapshot is not None else ""
    return f"{scene.lost.why}; trying again" + (f"; when last heard it had {doing}" if doing else "")


def _up(scene: Scene) -> str:
    """Full minutes, so that it moves with the clock's minutes and not each second."""
    seconds = scene.now_s - scene.hello.started_at_s if scene.hello else 0
    return age_text(seconds) if seconds >= 60 else "0m"


def rule_line(title: str, middle: Line, end: str, paper: Paper) -> Line:
    """A section's rule with its title, what is to be said of it, and a note at the right edge."""
    start: Line = (Span(f"{paper.glyphs.rule * 2} ", "rule"), Span(title, "head"), Span(" "), *middle, Span(" "))
    tail: Line = (Span(f" {end} ", "dim"), Span(paper.glyphs.rule * 2, "rule")) if end else ()
    fill = max(paper.width - width_of(start) - width_of(tail), 0)
    return paper.filled((*start, Span(paper.glyphs.rule * fill, "rule"), *tail))


def jobs_line(jobs: Sequence[JobView], selected: str | None, glyphs: Glyphs) -> Line:
    """The command under way that matters most to the operator: the selected model's, or the oldest."""
    if not jobs:
        return ()
    job = next((j for j in jobs if selected in models_of(j.command)), jobs[0])
    wait = f", waits for {glyphs.text(job.waiting_for)}" if job.waiting_for else ""
    others = f"  and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    text = Span(f" {command_text(job.command)}: {job.phase}{wait}{others}", "warn")
    return (
        (text, Span("   esc", "key"), Span(" twice takes it back")) if selected in models_of(job.command) else (text,)
    )


class Summary(Struct, frozen=True):
    """Figures of the switches that were carried out."""

    count: int
    p50_s: float
    p95_s: float
    efficiency: float | None
    """Median of floor ÷ measured, over the switches that have a floor."""
    left_out: tuple[str, ...] = ()
    """Loads that the times are not of, in words: "2 prepared", "1 failed"."""


def summary(switches: Sequence[Switch]) -> Summary | None:
    """The figures of loads that were carried out, or None before the first."""
    done = timed_loads(switches)
    if not done:
        return None
    totals = [s.total_s for s in done]
    known = [s.efficiency for s in done if s.efficiency is not None]
    efficiency = median(known) if known else None
    return Summary(len(done), nearest_rank(totals, 0.5), nearest_rank(totals, 0.95), efficiency, _left_out(switches))


def _left_out(switches: Sequence[Switch]) -> tuple[str, ...]:
    why = Counter(_why_not_timed(switch) for switch in switches if switch.plan.loads)
    return tuple(f"{count} {words}" for words, count in why.items() if words)


def _why_not_timed(switch: Switch) -> str:
    """Why its time is not that of one load; empty where it is."""
    if switch.outcome != "done":
        return switch.outcome
    if len(switch.plan.loads) > 1:
        return "of several models"
    return "prepared" if switch.tier == "source" else ""


def timed_loads(switches: Sequence[Switch]) -> list[Switch]:
    """The switches whose time is that of one load.

    A model's very first load is left out: it prepares the model, once for all later switches.
    """
    return [s for s in switches if s.plan.loads and not _why_not_timed(s)]


def summary_line(switches: Sequence[Switch], paper: Paper) -> Line:
    """Their figures in words, the lesser ones only where there is room."""
    found = summary(switches)
    if found is None:
        prepared = any(s.tier == "source" for s in switches)
        return (Span("first loads prepare, and are not timed" if prepared else "no switch yet", "dim"),)
    met = found.p95_s < SWITCH_TARGET_S
    verdict = Span(f"{paper.glyphs.yes if met else paper.glyphs.no}", "good" if met else "bad")
    times = f"p50 {seconds_text(found.p50_s)}  p95 {seconds_text(found.p95_s)}"
    line = [Span(times), Span(f" of {found.count}", "dim"), Span("  target < 2 s "), verdict]
    if found.efficiency is not None and paper.width >= 80:
        line.append(Span(f"  efficiency {found.efficiency:.2f}"))
    if found.left_out and paper.width >= 100:
        line.append(Span(f"  not counted: {', '.join(found.left_out)}", "dim"))
    return tuple(line)
