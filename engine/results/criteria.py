"""The success criteria, each with its figure, and what that means: passed, failed, or not known yet."""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from engine.bench.statistics import spread
from engine.core.insight.fullest import Fullest
from engine.core.records import SWITCH_TARGET_S
from engine.core.sizes import format_room
from engine.results.figures import could_have_filled, fallbacks, is_prepared, monitoring, pressure, to_gpus
from engine.results.recorded import ReportRecords

Verdict: TypeAlias = Literal["PASS", "FAIL", "not enough data"]

FILLED_TARGET: Final = 0.8
ENOUGH_PRESSURE_S: Final = 30.0
ENOUGH_SWITCHES: Final = 20
"""Of fewer, the 95th percentile is only the longest."""
ENOUGH_SAMPLES: Final = 10
FRESH_S: Final = 5.0
"""Devices are read once a second; what is older than this is no longer the present."""


class Criterion(Struct, frozen=True):
    """One line of the verdicts."""

    name: str
    target: str
    figure: str
    verdict: Verdict
    wanting: str = ""
    """What would give a verdict, where there is none."""


def criteria(recorded: ReportRecords) -> tuple[Criterion, ...]:
    return (_filled(recorded), _switching(recorded), _monitored(recorded), _cpu_fallback(recorded))


def _filled(recorded: ReportRecords) -> Criterion:
    name, target = "Utilisation under pressure", f"over {100 * FILLED_TARGET:.0f} % of the GPUs' budget"
    found = pressure(recorded.samples, recorded.engines, recorded.switches)
    seconds = found.of_budget.seconds if found else 0.0
    if found is None or seconds < ENOUGH_PRESSURE_S:
        wanting = f"{ENOUGH_PRESSURE_S:.0f} s of evictions for room: `citadel drive` with more models than fit"
        return Criterion(name, target, f"{seconds:.0f} s under pressure recorded", "not enough data", wanting)
    mean = found.of_budget.mean
    of_total = f"; {100 * found.of_total.mean:.1f} % of all their memory in use" if found.of_total else ""
    figure = f"{100 * mean:.1f} % on average over {seconds:.0f} s{of_total}"
    if mean > FILLED_TARGET:
        return Criterion(name, target, figure, "PASS")
    return Criterion(name, target, f"{figure}{_why_not_fuller(could_have_filled(recorded))}", "FAIL")


def _why_not_fuller(best: Fullest | None) -> str:
    """Whether the policy or the models' sizes are to blame, as a further part of a sentence."""
    if best is None:
        return ""
    found = f"; what was asked for could have filled {100 * best.share:.1f} % at best"
    if best.share > FILLED_TARGET:
        return f"{found}, so it is the policy that left room empty"
    fills = f"a model of up to {format_room(best.room_bytes)} beside it would fill more"
    return (
        f"{found}, so the sizes allow no more: with {best.model} no more than {100 * best.model_share:.1f} %; {fills}"
    )


def _switching(recorded: ReportRecords) -> Criterion:
    name, target = "Switching time", f"under {SWITCH_TARGET_S:g} s"
    timed = [switch for switch in to_gpus(recorded.switches) if is_prepared(switch)]
    if len(timed) < ENOUGH_SWITCHES:
        wanting = f"{ENOUGH_SWITCHES} switches: `citadel bench`, or `citadel drive` with more models than fit"
        return Criterion(name, target, f"{len(timed)} switches recorded", "not enough data", wanting)
    moving, total = spread([switch.moving_s for switch in timed]), spread([switch.total_s for switch in timed])
    figure = (
        f"p95 {moving.p95:.2f} s, longest {moving.largest:.2f} s, of {moving.count} switches; "
        f"p95 {total.p95:.2f} s with the waits for room and for running uses"
    )
    return Criterion(name, target, figure, "PASS" if moving.p95 < SWITCH_TARGET_S else "FAIL")


def _monitored(recorded: ReportRecords) -> Criterion:
    name = "Real-time monitoring"
    target = f"figures at most {FRESH_S:g} s old, a line of them every {recorded.facts.interval_s:g} s"
    found = monitoring(recorded.samples, recorded.engines)
    if found is None or found.samples < ENOUGH_SAMPLES:
        wanting = f"{ENOUGH_SAMPLES} samples: let the engine run for a while"
        return Criterion(name, target, f"{found.samples if found else 0} samples", "not enough data", wanting)
    oldest_s = found.oldest_s if found.oldest_s is not None else math.inf
    figure = f"{found.samples} lines, {found.gaps} of them late; the oldest figures were {oldest_s:.1f} s old"
    return Criterion(name, target, figure, "FAIL" if found.gaps or oldest_s > FRESH_S else "PASS")


def _cpu_fallback(recorded: ReportRecords) -> Criterion:
    name, target = "CPU fallback", "a model that no GPU has room for runs on the CPU"
    found = fallbacks(recorded.switches)
    by_itself, asked_for = sum(one.by_itself for one in found), sum(one.asked_for for one in found)
    failed = sum(one.failed for one in found)
    if not by_itself and not asked_for and not failed:
        return Criterion(name, target, "none recorded", "not enough data", "one fallback: `citadel selftest` forces it")
    figure = f"{by_itself} by itself, {asked_for} asked for, {failed} failed"
    return Criterion(name, target, figure, "FAIL" if failed else "PASS")
