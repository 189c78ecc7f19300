"""How a model's requests fare, in few characters: what goes on, how fast, how long answers take, what came to nothing; and one
request: who asks, where it is, how far it has come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from citadel_tui.text import clean
from citadel_tui.words.figures import age_text, count_text
from citadel_tui.words.labels import Label
from engine.core.insight.request_figures import (
    KEPT_ANSWERS,
    TIMES_S,
    RequestFigures,
    RequestsUnderWay,
    RequestUnderWay,
)
from engine.core.tasks import TaskKind, unit_of_work

OF_THE_TIMES: Final = (
    f"times: of the requests answered in the last {TIMES_S / 60:.0f} minutes, at most the newest {KEPT_ANSWERS}; without those"
    " that failed, were refused or left (cancelled, too late, stopped), which are counted since the engine started"
)
"""What the figures are of."""


def latency_text(seconds: float | None) -> str:
    """The time of a request in at most six characters: "<1 ms", "8.4 ms", "210 ms", "1.24 s", "132 s"; a dash without one."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return "<1 ms"
    if seconds < 0.00995:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:.0f} s"


def rate_text(per_s: float) -> str:
    """Rows or tokens a second, in at most four characters: "0.2", "118", "12k"; nothing for less than a tenth."""
    if per_s < 0.05:
        return ""
    if per_s < 9.95:
        return f"{per_s:.1f}"
    return f"{per_s:.0f}" if per_s < 9999.5 else f"{per_s / 1000:.0f}k"


def at_work_text(figures: RequestFigures, task: TaskKind) -> str:
    """What goes on: "3 in flight, 12 waiting, 118 rows a second in the last minute"."""
    rate = rate_text(figures.per_s)
    speed = f", {rate} {unit_of_work(task)} a second in the last minute" if rate else ""
    return f"{figures.in_flight} in flight, {figures.waiting} waiting{speed}"


def answered_text(figures: RequestFigures, task: TaskKind) -> str:
    """How long answers took, and how many that says it of; empty where nothing was answered."""
    if not figures.answered:
        return ""
    p50, p95 = latency_text(figures.p50_s), latency_text(figures.p95_s)
    first = f", first token {latency_text(figures.first_part_s)}" if task == "generation" else ""
    many = "the newest " if figures.answered == KEPT_ANSWERS else ""
    return f"p50 {p50}, p95 {p95}{first}; of {many}{count_text(figures.answered, 'answer', 'answers')} in {_MINUTES}"


def nothing_text(figures: RequestFigures) -> str:
    """What came to nothing, which the times know nothing of; empty where all was well."""
    counted = ", ".join(f"{count} {outcome}" for outcome, count in _came_to_nothing(figures))
    return f"{counted} since the engine started; not in the times" if counted else ""


_MINUTES: Final = f"the last {TIMES_S / 60:.0f} minutes"


def faring_text(figures: RequestFigures, task: TaskKind) -> str:
    """All of it, a line each."""
    lines = (at_work_text(figures, task), answered_text(figures, task), nothing_text(figures))
    return "\n".join(filter(None, lines))


def _came_to_nothing(figures: RequestFigures) -> Iterator[tuple[str, int]]:
    for outcome in ("failed", "refused", "left"):
        if count := getattr(figures, outcome):
            yield outcome, count


# ── one request ──────────────────────────────────────────────────────────────────────────────────


def where_text(request: RequestUnderWay) -> str:
    """The device that has it; that it is waiting while none has."""
    return request.device or "waiting"


def so_far_text(request: RequestUnderWay) -> str:
    """How much was asked for, and of a text how much has come: "8 rows", "41 of 200 tokens"."""
    if unit_of_work(request.task) == "rows":
        return count_text(request.work, "row", "rows")
    asked = count_text(request.work, "token", "tokens")
    return asked if request.device is None else f"{request.parts} of {asked}"


def request_text(request: RequestUnderWay, label: Label) -> str:
    """All of it in a sentence: "request 12 of bge-base, asked by key app 4s ago, 8 rows, waiting"."""
    asked = f"asked by {clean(request.asker.text)} {age_text(request.age_s)} ago"
    place = "waiting" if request.device is None else f"on {request.device}"
    return f"request {request.number} of {label(request.model)}, {asked}, {so_far_text(request)}, {place}"


def under_way_text(listed: RequestsUnderWay) -> str:
    """How many there are: "3 requests under way", "300 requests under way, the oldest 256 of them listed"."""
    if not listed.count:
        return "no request is under way"
    some = f", the oldest {len(listed.requests)} of them listed" if len(listed.requests) < listed.count else ""
    return f"{count_text(listed.count, 'request', 'requests')} under way{some}"
