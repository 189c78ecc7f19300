"""Runs of a benchmark, made up from switch times alone."""

from __future__ import annotations

from collections.abc import Sequence

from engine.bench.records import BENCH_VERSION, BenchResult, BenchSubject, Repeat, Series
from engine.bench.request_records import (
    REQUESTS_VERSION,
    RequestRound,
    RequestSeries,
    RequestsResult,
    RequestSubject,
    RequestTimes,
)
from engine.core.records import Phases
from engine.recording.host_facts import HostFacts

MACHINE = HostFacts("box", "a processor", 2, 8 << 30, "6.1", "3.11.7", {"torch": "2.7.1"}, ())


def repeat(switch_s: float) -> Repeat:
    """A fifth of the time goes to the eviction; the load has half of its time as its floor."""
    evict_s, load_s = switch_s / 5, switch_s * 4 / 5
    return Repeat(evict_s, load_s, Phases(evict=evict_s), Phases(copy=load_s), floor_s=load_s / 2)


def series(model: str, switch_seconds: Sequence[float], device: str = "gpu0") -> Series:
    repeats = tuple(map(repeat, switch_seconds))
    return Series(BenchSubject(model, device, "ram"), synthetic=False, weights_bytes=90 << 20, repeats=repeats)


def run_of(*all_series: Series, machine: HostFacts = MACHINE) -> BenchResult:
    return BenchResult(BENCH_VERSION, 1.8e9, "0.1.0", machine, 1, all_series)


def request_series(
    model: str, seconds: Sequence[float], gap_s: float = 0.0, *, cold: bool = False, at_once: int = 1
) -> RequestSeries:
    """Rounds of `at_once`: with a gap, texts of four tokens, whose first comes after half of the time; else a row each."""
    answers = tuple(
        RequestTimes("gpu0", s, s / 2, (gap_s,) * 3, 4) if gap_s else RequestTimes("gpu0", s, s, (), 1) for s in seconds
    )
    subject = RequestSubject(model, "together" if at_once > 1 else "alone", at_once, cold)
    rounds = tuple(
        RequestRound(max(a.answer_s for a in answers[first : first + at_once]), at_once * answers[first].work)
        for first in range(0, len(answers), at_once)
    )
    return RequestSeries(subject, False, "tokens" if gap_s else "rows", answers, rounds)


def requests_run(*series: RequestSeries, mix: str = "a text each", machine: HostFacts = MACHINE) -> RequestsResult:
    return RequestsResult(REQUESTS_VERSION, 1.8e9, "0.1.0", machine, mix, series)
