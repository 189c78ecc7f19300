"""One switch in full: the waterfall of its phases, measured beside predicted, and why this plan was chosen."""

from __future__ import annotations

from typing import Final, assert_never

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.graph import share_cells
from citadel_tui.viewmodel.pages.plan import refusal_lines, step_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.spans import Line, Span, left, right
from citadel_tui.words.figures import clock_text, milliseconds_text, range_text, seconds_text
from citadel_tui.words.labels import ASKED_BY
from citadel_tui.words.plans import plan_words
from engine.core.commands import command_text
from engine.core.records import Notice, Phases, Pinned, Record, Refused, Residency, Switch

_LABEL: Final = 10


def record_title(record: Record, glyphs: Glyphs) -> str:
    """What the page is about."""
    match record.entry:
        case Switch() as entry:
            return f"{clock_text(entry.at_s)}  {command_text(entry.plan.command)}"
        case Refused() as refused:
            return f"{clock_text(refused.at_s)}  refused: {command_text(refused.refusal.command)}"
        case Pinned() as pinned:
            return f"{clock_text(pinned.at_s)}  {command_text(pinned.plan.command)}"
        case Notice() as notice:
            return f"{clock_text(notice.at_s)}  {notice.level}"
        case Residency() as residency:
            return f"{clock_text(residency.at_s)}  residency"
        case _:
            assert_never(record.entry)


def record_lines(record: Record, paper: Paper) -> tuple[Line, ...]:
    """Everything that the journal says of one line of the log."""
    match record.entry:
        case Switch() as switch:
            return switch_lines(switch, paper)
        case Refused() as refused:
            return refusal_lines(refused.refusal, paper)
        case Pinned() as pinned:
            return (
                *step_lines(plan_words(pinned.plan, str), paper),
                *section("Why", sentences(pinned.plan.reasons, paper)),
            )
        case Notice() as notice:
            return sentences((notice.text,), paper)
        case Residency() as residency:
            return sentences((f"{model} on {device}" for model, device in residency.residents), paper)
        case _:
            assert_never(record.entry)


def switch_lines(switch: Switch, paper: Paper) -> tuple[Line, ...]:
    """Outcome and times, the waterfall, the plan's steps, reasons and alternatives."""
    words = plan_words(switch.plan, str)
    predicted = range_text(switch.plan.predicted.p50_s, switch.plan.predicted.p90_s)
    outcome = switch.outcome + (f": {paper.text(switch.reason)}" if switch.reason else "")
    facts = [
        *fact("outcome", outcome, paper.width, _LABEL, "good" if switch.outcome == "done" else "bad"),
        *fact("asked by", ASKED_BY[switch.origin], paper.width, _LABEL),
        *fact("took", f"{seconds_text(switch.total_s)}, predicted {predicted}", paper.width, _LABEL),
    ]
    if switch.floor_s is not None and switch.efficiency is not None:
        floor = f"{seconds_text(switch.floor_s)} to move the bytes alone; efficiency {switch.efficiency:.2f}"
        facts.extend(fact("floor", floor, paper.width, _LABEL))
    return (
        *facts,
        *section("Phases", waterfall(switch.phases, paper)),
        *section("Steps", step_lines(words, paper)),
        *section("Why", sentences(words.reasons, paper)),
        *section("Instead", sentences(words.alternatives, paper)),
    )


def waterfall(phases: Phases, paper: Paper) -> tuple[Line, ...]:
    """Each phase that took time, its bar beginning where the one before it ended; all in the unit that tells them apart."""
    times = {name: getattr(phases, name) for name in phases.__struct_fields__}
    taken = {name: seconds for name, seconds in times.items() if seconds > 0}
    room = max(paper.width - 21, 8)
    cells = share_cells([max(round(seconds * 1e6), 1) for seconds in taken.values()], room)
    told = milliseconds_text if sum(taken.values()) < 1 else seconds_text
    lines: list[Line] = []
    before = 0
    for (name, seconds), size in zip(taken.items(), cells, strict=True):
        figures = Span(f" {left(name, 8)}{right(told(seconds), 8)}  ")
        lines.append((figures, Span(" " * before), Span(paper.glyphs.bar * size, "graph")))
        before += size
    return tuple(lines)
