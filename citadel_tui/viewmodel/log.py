"""The switch log as lines: switches with their phases, and what else happened, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from msgspec.structs import asdict

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Role, Span, filled, left, right, width_of
from citadel_tui.words.figures import clock_text, phase_text, seconds_text
from engine.core.commands import command_text
from engine.core.plans import Plan
from engine.core.records import Notice, Pinned, Record, Refused, Residency, Switch

_TIME: Final = 10
_MOVEMENT: Final = 34
"""Room for two names of common length and a device: who left matters more than the lesser phases."""
_REASONS_FROM: Final = 140
"""From this width on a switch's first reason follows its figures."""


def log_lines(records: Iterable[Record], width: int, glyphs: Glyphs) -> dict[int, Line]:
    """A line for each record that the operator should see, by sequence number, newest first."""
    newest_first = sorted(records, key=lambda r: -r.seq)
    lines = ((r.seq, _line(r, width, glyphs)) for r in newest_first)
    return {seq: filled(line, width, glyphs.ellipsis) for seq, line in lines if line}


def _line(record: Record, width: int, glyphs: Glyphs) -> Line:
    match record.entry:
        case Switch() as switch:
            return _switch(switch, width, glyphs)
        case Refused() as refused:
            text = f"refused: {command_text(refused.refusal.command)}: {refused.refusal.reason}"
            return _sentence(refused.at_s, text, "bad", glyphs)
        case Pinned() as pinned:
            return _sentence(pinned.at_s, command_text(pinned.plan.command), "text", glyphs)
        case Notice() as notice:
            return _sentence(notice.at_s, notice.text, _LEVELS[notice.level], glyphs)
        case Residency():
            return ()
        case _:
            assert_never(record.entry)


_LEVELS: Final[dict[str, Role]] = {"info": "dim", "warning": "warn", "error": "bad"}


def _sentence(at_s: float, text: str, role: Role, glyphs: Glyphs) -> Line:
    return (_time(at_s), Span(glyphs.text(text), role))


def _time(at_s: float) -> Span:
    return Span(left(f"  {clock_text(at_s)}", _TIME) + " ", "dim")


def _switch(switch: Switch, width: int, glyphs: Glyphs) -> Line:
    what = min(44, max(_MOVEMENT, width - 58), max(width - 32, 20))
    title = _title(switch.plan, glyphs)
    if switch.outcome != "done":
        # No column is kept: the reason needs the room, and may cut the time.
        told = Span(f"  {switch.outcome}: {glyphs.text(switch.reason)}, after {seconds_text(switch.total_s)}", "bad")
        return (_time(switch.at_s), *title, told)
    took = Span(" " + right(seconds_text(switch.total_s), 7), "strong")
    line = (_time(switch.at_s), *filled(title, what, glyphs.ellipsis), took)
    predicted = Span(f"  pred {phase_text(switch.predicted.p50_s):<4}", "dim")
    room = width - width_of(line) - width_of((predicted,))
    phases = _phases(switch, room)
    if width < _REASONS_FROM:
        return (*line, *phases, predicted)
    reason = "; ".join(switch.plan.reasons[:1])
    return (*line, *filled(phases, 46, glyphs.ellipsis), predicted, Span(f"  {glyphs.text(reason)}", "dim"))


def _title(plan: Plan, glyphs: Glyphs) -> Line:
    """`model → device × victims`, or who left when nothing was loaded."""
    load = plan.load
    if load is None:
        return (Span(glyphs.text(command_text(plan.command))),)
    target = Span(f"{load.model} {glyphs.arrow} {load.device}")
    victims = ", ".join(v.model for v in plan.victims)
    return (target, Span(f" {glyphs.out} {victims}", "leaving")) if victims else (target,)


def _phases(switch: Switch, room: int) -> Line:
    """The phases that took time, dearest kept when there is no room for all, shown in their order."""
    read = "prepare" if switch.tier == "source" else "read"
    times = {read if name == "read" else name: seconds for name, seconds in asdict(switch.phases).items()}
    shown = [name for name in sorted(times, key=lambda n: -times[n]) if phase_text(times[name]) != "0"]
    while shown and len(_phases_text(times, shown)) > room:
        shown.pop()
    return (Span(_phases_text(times, shown), "dim"),) if shown else ()


def _phases_text(times: dict[str, float], shown: list[str]) -> str:
    return " " + "".join(f" {name} {phase_text(times[name])}" for name in times if name in shown)
