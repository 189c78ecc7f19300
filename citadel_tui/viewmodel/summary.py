"""What the switches say together: percentiles against the target, and how near to the floor they came."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.words.figures import count_text, seconds_text
from engine.bench.statistics import nearest_rank
from engine.core.records import Switch
from engine.core.insight.reference_box import SWITCH_TARGET_S


class Summary(Struct, frozen=True):
    """Figures of the switches that were carried out."""

    count: int
    p50_s: float
    p95_s: float
    efficiency: float | None
    """Median of floor ÷ measured, over the switches that have a floor."""


def summary(switches: Sequence[Switch]) -> Summary | None:
    """The figures of loads that were carried out, or None before the first."""
    done = timed_loads(switches)
    if not done:
        return None
    totals = [s.total_s for s in done]
    known = [s.efficiency for s in done if s.efficiency is not None]
    return Summary(len(done), nearest_rank(totals, 0.5), nearest_rank(totals, 0.95), median(known) if known else None)


def timed_loads(switches: Sequence[Switch]) -> list[Switch]:
    """The switches whose time is that of one load.

    A model's very first load is left out: it prepares the model, once for all later switches.
    """
    return [s for s in switches if s.outcome == "done" and len(s.plan.loads) == 1 and s.tier != "source"]


def summary_line(switches: Sequence[Switch], width: int, glyphs: Glyphs) -> Line:
    """Their figures in words, the lesser ones only where there is room."""
    found = summary(switches)
    if found is None:
        prepared = any(s.tier == "source" for s in switches)
        return (Span("first loads prepare, and are not timed" if prepared else "no switch yet", "dim"),)
    met = found.p95_s < SWITCH_TARGET_S
    verdict = Span(f"{glyphs.yes if met else glyphs.no}", "good" if met else "bad")
    line = [Span(f"p50 {seconds_text(found.p50_s)}  p95 {seconds_text(found.p95_s)}  target < 2 s "), verdict]
    if found.efficiency is not None and width >= 76:
        line.append(Span(f"  efficiency {found.efficiency:.2f}"))
    if width >= 100:
        line.append(Span(f"  {count_text(found.count, 'switch', 'switches')}", "dim"))
    return tuple(line)
