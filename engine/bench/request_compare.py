"""Two runs of requests side by side: what the times of each subject have become, and what can't be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from engine.bench.compare import machine_differences
from engine.bench.request_records import RequestSeries, RequestsResult, RequestSubject, RequestTimes
from engine.bench.statistics import MedianChange, change_of_median

ComparedTime: TypeAlias = Literal["answer", "first part", "part", "row", "token"]
"""Until the whole answer; until the first part of a text; between its parts, the mean of each request; and a round's time for
each row, or token, that was done in it."""

_ENOUGH: Final = 3
"""So many rounds tell how fast they are, rather than one of them."""

_TIMES: Final[dict[ComparedTime, Callable[[RequestTimes], float | None]]] = {
    "answer": lambda answer: answer.answer_s,
    "first part": lambda answer: answer.first_part_s if answer.gaps_s else None,
    "part": lambda answer: answer.mean_gap_s,
}


class RequestComparison(Struct, frozen=True):
    """One time of one subject in both runs: medians, in seconds."""

    subject: RequestSubject
    synthetic: bool
    time: ComparedTime
    before_s: float
    after_s: float
    change: MedianChange


class RequestsCompared(Struct, frozen=True):
    """All that two runs have to say to each other."""

    comparisons: tuple[RequestComparison, ...]
    only_before: tuple[RequestSeries, ...]
    only_after: tuple[RequestSeries, ...]
    differences: tuple[str, ...]
    """What else differs between the two, which may explain a change."""


def compare_requests(before: RequestsResult, after: RequestsResult) -> RequestsCompared:
    old = {series.subject: series for series in before.series}
    new = {series.subject: series for series in after.series}
    mixes = () if before.mix == after.mix else (f"what was sent: {before.mix} before, {after.mix} after",)
    return RequestsCompared(
        tuple(found for subject in sorted(old.keys() & new.keys()) for found in _compared(old[subject], new[subject])),
        tuple(old[subject] for subject in sorted(old.keys() - new.keys())),
        tuple(new[subject] for subject in sorted(new.keys() - old.keys())),
        (*machine_differences(before.machine, after.machine), *mixes),
    )


def _compared(before: RequestSeries, after: RequestSeries) -> list[RequestComparison]:
    """Of an answer in one piece there is one time."""
    synthetic = before.synthetic or after.synthetic
    found = []
    known = {
        name: (_known(before.answers, time_of), _known(after.answers, time_of)) for name, time_of in _TIMES.items()
    }
    paces = _paces_s(before), _paces_s(after)
    if min(map(len, paces)) >= _ENOUGH:
        known["token" if after.unit == "tokens" else "row"] = paces
    for name, (old, new) in known.items():
        if old and new:
            change = change_of_median(old, new)
            found.append(RequestComparison(after.subject, synthetic, name, median(old), median(new), change))
    return found


def _paces_s(series: RequestSeries) -> list[float]:
    """Seconds for each row or token, of each round; none where that is the time until the answer."""
    if series.unit == "rows" and series.subject.at_once == 1:
        return []
    return [one.seconds / one.work for one in series.rounds if one.work and one.seconds]


def _known(answers: Sequence[RequestTimes], time_of: Callable[[RequestTimes], float | None]) -> list[float]:
    return [seconds for answer in answers if (seconds := time_of(answer))]
