"""The switch log as lines, newest first: who came and left in a switch, how long that took and in which phases, what was
predicted and why; and what else happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, assert_never

from msgspec.structs import asdict

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Role, Span, cut_middle, filled, left, right, width_of
from citadel_tui.words.figures import clock_text, phase_text, seconds_text
from citadel_tui.words.labels import Label
from citadel_tui.words.plans import done_text, refused_text
from engine.core.plans import Plan, Step
from engine.core.records import Notice, Pinned, Record, Refused, Residency, Switch

_MOVEMENT: Final = 34
"""Room for two names of common length and a device: who left matters more than the lesser phases."""
_MOVEMENT_MOST: Final = 44
_PHASES_MOST: Final = 46
_FIGURES: Final = 30
"""Cells of the time of day, of how long it took and of what was predicted."""
_NAME_LEAST: Final = 8
_REASONS_FROM: Final = 140
"""From this width on a switch's first reason follows its figures."""
_TIME: Final = 10
_LEVELS: Final[dict[str, Role]] = {"info": "dim", "warning": "warn", "error": "bad"}


class Log:
    """Remembers the lines: three hundred of them take longer to work out than the console's loop may stand still."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._laid_out: tuple[Columns, Paper] | None = None

    def lines(self, records: Iterable[Record], paper: Paper) -> dict[int, Line]:
        """A line for each record that the operator should see, by sequence number, newest first."""
        known = [self._recalled(record, paper.glyphs) for record in sorted(records, key=lambda r: -r.seq)]
        columns = columns_for((k.needs for k in known if k.needs), paper.width)
        kept = self._laid_out == (columns, paper)
        drawn = [k if kept and k.line is not None else _drawn(k, columns, paper) for k in known]
        self._known = {k.record.seq: k for k in drawn}
        self._laid_out = (columns, paper)
        return {seq: k.line for seq, k in self._known.items() if k.line}

    def _recalled(self, record: Record, glyphs: Glyphs) -> _Known:
        """Another engine counts its records anew: only the same record has the same line."""
        before = self._known.get(record.seq)
        if before is not None and before.record is record:
            return before
        entry = record.entry
        return _Known(record, columns_of(entry, glyphs) if isinstance(entry, Switch) else None)


class _Known(NamedTuple):
    record: Record
    needs: Columns | None
    """The columns that it would fill; None for what is no switch."""
    line: Line | None = None


def _drawn(known: _Known, columns: Columns, paper: Paper) -> _Known:
    told = _line(known.record, columns, paper)
    return known._replace(line=paper.filled(told) if told else ())


def log_lines(records: Iterable[Record], paper: Paper) -> dict[int, Line]:
    """The lines of records that are looked at once."""
    return Log().lines(records, paper)


def _line(record: Record, columns: Columns, paper: Paper) -> Line:
    match record.entry:
        case Switch() as switch:
            return (_time(switch.at_s), _swatch(switch.plan, paper), *switch_line(switch, columns, paper))
        case Refused() as refused:
            return _sentence(refused.at_s, refused_text(refused.refusal, str), "bad", paper.glyphs)
        case Pinned() as pinned:
            return _sentence(pinned.at_s, done_text(pinned.plan, str), "text", paper.glyphs)
        case Notice() as notice:
            return _sentence(notice.at_s, notice.text, _LEVELS[notice.level], paper.glyphs)
        case Residency():
            return ()
        case _:
            assert_never(record.entry)


def _sentence(at_s: float, text: str, role: Role, glyphs: Glyphs) -> Line:
    return (_time(at_s), Span(" "), Span(glyphs.text(text), role))


def _time(at_s: float) -> Span:
    return Span(left(f"  {clock_text(at_s)}", _TIME), "dim")


def _swatch(plan: Plan, paper: Paper) -> Span:
    """The colour of the model that came, or of the first that left."""
    moved = next((step.model for step in (*plan.loads, *plan.steps)), "")
    return Span(paper.glyphs.swatch, paper.colours.block(moved))


# ── a switch ──────────────────────────────────────────────────────────────────────────────────────


class Columns(NamedTuple):
    """Cells of the two parts of a line that differ from switch to switch."""

    movement: int
    phases: int


def columns_of(switch: Switch, glyphs: Glyphs) -> Columns:
    """What `switch` alone would fill of a wide screen; one that failed has no columns."""
    if switch.outcome != "done":
        return Columns(0, 0)
    return Columns(width_of(movement_line(switch.plan, glyphs)), width_of(_phases(switch, _PHASES_MOST)))


def columns_for(needs: Iterable[Columns], width: int) -> Columns:
    """The columns of a log of `width` cells; on a wide screen no wider than needed, which leaves the reasons most room."""
    if width < _REASONS_FROM:
        movement = min(_MOVEMENT_MOST, max(_MOVEMENT, width - 58), max(width - 32, 20))
        return Columns(movement, width - movement - _FIGURES)
    movements, phases = zip(Columns(0, 0), *needs, strict=True)
    return Columns(min(max(movements), _MOVEMENT_MOST), max(phases))


def switch_line(switch: Switch, columns: Columns, paper: Paper) -> Line:
    """What follows the time of day."""
    done = switch.outcome == "done"
    movement = _movement_within(
        switch.plan, paper.glyphs, columns.movement if done else min(_MOVEMENT_MOST, paper.width // 2)
    )
    if not done:
        # No column is kept: the reason needs the room, and may cut the time.
        told = Span(f"  {switch.outcome}: {paper.text(switch.reason)}, after {seconds_text(switch.total_s)}", "bad")
        return (*movement, told)
    took = Span(" " + right(seconds_text(switch.total_s), 7), "strong")
    line = (*filled(movement, columns.movement, paper.glyphs.ellipsis), took)
    predicted = Span(f"  pred {phase_text(switch.predicted.p50_s):<4}", "dim")
    phases = _phases(switch, columns.phases)
    if paper.width < _REASONS_FROM:
        return (*line, *phases, predicted)
    reason = "; ".join(switch.plan.reasons[:1])
    return (*line, *filled(phases, columns.phases), predicted, Span(f"  {paper.text(reason)}", "dim"))


def _movement_within(plan: Plan, glyphs: Glyphs, room: int) -> Line:
    """The movement, its longest names cut in the middle so that where to and who left are seen in so many cells."""
    whole = movement_line(plan, glyphs)
    over = width_of(whole) - room
    if over <= 0:
        return whole
    moved: tuple[Step, ...] = (plan.load, *plan.victims) if plan.load else plan.steps
    sizes = [len(step.model) for step in moved]
    most = max(sizes, default=0)
    while most > _NAME_LEAST and sum(max(size - most, 0) for size in sizes) < over:
        most -= 1
    return movement_line(plan, glyphs, lambda model: cut_middle(model, most, glyphs.ellipsis))


def movement_line(plan: Plan, glyphs: Glyphs, label: Label = str) -> Line:
    """`model → device × victims`, `model → also device` for one more copy, or who left when nothing was loaded."""
    load = plan.load
    if load is None:
        return (Span(glyphs.text(done_text(plan, label))),)
    also = "also " if load.stays else ""
    target = Span(f"{label(load.model)} {glyphs.arrow} {also}{load.device}")
    victims = ", ".join(label(v.model) for v in plan.victims)
    return (target, Span(f" {glyphs.out} {victims}", "leaving")) if victims else (target,)


def _phases(switch: Switch, room: int) -> Line:
    """The phases that took time, dearest kept when there is no room for all, shown in their order."""
    times = asdict(switch.phases)
    shown = [name for name in sorted(times, key=lambda n: -times[n]) if phase_text(times[name]) != "0"]
    while shown and len(_phases_text(times, shown)) > room:
        shown.pop()
    return (Span(_phases_text(times, shown), "dim"),) if shown else ()


def _phases_text(times: dict[str, float], shown: list[str]) -> str:
    return " " + "".join(f" {name} {phase_text(times[name])}" for name in times if name in shown)
