"""A switch as a line of the log: who came and left, how long it took and in which phases, what was predicted, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec.structs import asdict

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Span, filled, right, width_of
from citadel_tui.words.figures import phase_text, seconds_text
from engine.core.commands import command_text
from engine.core.plans import Plan
from engine.core.records import Switch

_MOVEMENT: Final = 34
"""Room for two names of common length and a device: who left matters more than the lesser phases."""
_MOVEMENT_MOST: Final = 44
_PHASES_MOST: Final = 46
_FIGURES: Final = 30
"""Cells of the time of day, of how long it took and of what was predicted."""
_REASONS_FROM: Final = 140
"""From this width on a switch's first reason follows its figures."""


class Columns(NamedTuple):
    """Cells of the two parts of a line that differ from switch to switch."""

    movement: int
    phases: int


def columns_of(switch: Switch, glyphs: Glyphs) -> Columns:
    """What `switch` alone would fill of a wide screen; one that failed has no columns."""
    if switch.outcome != "done":
        return Columns(0, 0)
    return Columns(width_of(_movement(switch.plan, glyphs)), width_of(_phases(switch, _PHASES_MOST)))


def columns_for(needs: Iterable[Columns], width: int) -> Columns:
    """The columns of a log of `width` cells; on a wide screen no wider than needed, which leaves the reasons most room."""
    if width < _REASONS_FROM:
        movement = min(_MOVEMENT_MOST, max(_MOVEMENT, width - 58), max(width - 32, 20))
        return Columns(movement, width - movement - _FIGURES)
    movements, phases = zip(Columns(0, 0), *needs, strict=True)
    return Columns(min(max(movements), _MOVEMENT_MOST), max(phases))


def switch_line(switch: Switch, columns: Columns, width: int, glyphs: Glyphs) -> Line:
    """What follows the time of day."""
    movement = _movement(switch.plan, glyphs)
    if switch.outcome != "done":
        # No column is kept: the reason needs the room, and may cut the time.
        told = Span(f"  {switch.outcome}: {glyphs.text(switch.reason)}, after {seconds_text(switch.total_s)}", "bad")
        return (*movement, told)
    took = Span(" " + right(seconds_text(switch.total_s), 7), "strong")
    line = (*filled(movement, columns.movement, glyphs.ellipsis), took)
    predicted = Span(f"  pred {phase_text(switch.predicted.p50_s):<4}", "dim")
    phases = _phases(switch, columns.phases)
    if width < _REASONS_FROM:
        return (*line, *phases, predicted)
    reason = "; ".join(switch.plan.reasons[:1])
    return (*line, *filled(phases, columns.phases), predicted, Span(f"  {glyphs.text(reason)}", "dim"))


def _movement(plan: Plan, glyphs: Glyphs) -> Line:
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
