"""Requests that were measured, and a comparison of two such runs: as a table for people, and as markdown for a document."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from citadel_tui.cli.output import table
from citadel_tui.text import clean
from citadel_tui.words.bench import CHANGE_HEADINGS, change_cells, middle_text, ms_text, not_compared
from citadel_tui.words.labels import model_label
from citadel_tui.words.requests import rate_text
from engine.bench.request_compare import RequestComparison, RequestsCompared
from engine.bench.request_records import (
    RequestOmission,
    RequestSeries,
    RequestsResult,
    RequestSubject,
    Sending,
    rank_or_none,
)
from engine.bench.requests import RequestProgress

_HEADINGS: Final = (
    *("MODEL", "SENT", "N", "P50", "P95", "P99", "MAX", "FIRST", "FIRST P95", "PART", "PART P99", "PER S"),
)
_TEXT_COLUMNS: Final = 2
_LEGEND: Final = (
    "ms, as the client saw it. P50 to MAX: until the whole answer. FIRST: until the first part of a text, else the answer, in\n"
    "the middle. PART: between the parts of a text, a token each for the most part. PER S: rows, or tokens written. cold: the\n"
    "model had to be loaded. P95 and P99 of few requests are the slowest one."
)
_SENT: Final[dict[Sending, str]] = {"alone": "one at a time", "together": "at once", "played": "as the demand has them"}
_COMPARED_HEADINGS: Final = ("MODEL", "SENT", "TIME", *CHANGE_HEADINGS)


def sent_text(about: RequestSubject) -> str:
    """How the requests were sent: "one at a time, cold", "8 at once"."""
    many = f"{about.at_once} " if about.sent == "together" else ""
    return f"{many}{_SENT[about.sent]}{', cold' if about.cold else ''}"


def request_result_name(result: RequestSeries | RequestOmission) -> str:
    """The subject, and that its model's weights are random where they are."""
    return f"{model_label(result.subject.model, synthetic=result.synthetic)}, {sent_text(result.subject)}"


def request_progress_line(now: RequestProgress) -> str:
    """Which round is under way."""
    return f"{clean(now.subject.model)}, {sent_text(now.subject)}: {now.turn}"


def requests_text(result: RequestsResult) -> str:
    """A row a subject, what was sent, and what was left out."""
    lines = []
    if result.series:
        columns = [_cells(series) for series in result.series]
        lines += [table(_HEADINGS, columns, _HEADINGS[_TEXT_COLUMNS:]), _LEGEND]
    lines.append(f"sent: {clean(result.mix)}")
    return "\n".join([*lines, *_omitted(result)])


def requests_markdown(result: RequestsResult) -> str:
    """The same as a section of a document, with the facts of the machine."""
    machine = result.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    devices = ", ".join(f"{device.id}: {device.title}" for device in machine.devices)
    when = time.strftime("%Y-%m-%d", time.gmtime(result.at_s))
    return "\n".join(
        [
            "## Requests",
            "",
            f"Measured on {when} with Citadel {result.engine_version}: {machine.cpu}, {machine.cores} cores, Linux"
            f" {machine.kernel}, Python {machine.python}, {packages or 'no torch'}; {devices}.",
            f"Sent: {clean(result.mix)}.",
            "",
            f"| {' | '.join(_HEADINGS)} |",
            f"|{'---|' * _TEXT_COLUMNS}{'--:|' * (len(_HEADINGS) - _TEXT_COLUMNS)}",
            *(f"| {' | '.join(_cells(series))} |" for series in result.series),
            "",
            _LEGEND,
            *(["", *(f"- {line}" for line in _omitted(result))] if result.omissions else []),
            "",
        ]
    )


def _omitted(result: RequestsResult) -> list[str]:
    return [f"not measured: {request_result_name(one)}: {clean(one.reason)}" for one in result.omissions]


def _cells(series: RequestSeries) -> tuple[str, ...]:
    answers = [answer.answer_s for answer in series.answers]
    first = [answer.first_part_s for answer in series.answers]
    gaps = series.gaps_s
    return (
        model_label(series.subject.model, synthetic=series.synthetic),
        sent_text(series.subject),
        str(len(answers)),
        middle_text(answers),
        *(_rank_text(answers, share) for share in (0.95, 0.99, 1.0)),
        middle_text(first),
        _rank_text(first, 0.95),
        middle_text(gaps),
        _rank_text(gaps, 0.99),
        f"{rate_text(series.per_s) or '<0.1'} {series.unit}",
    )


def _rank_text(seconds: Sequence[float], share: float) -> str:
    found = rank_or_none(seconds, share)
    return "-" if found is None else ms_text(found)


def requests_comparison_text(compared: RequestsCompared, threshold: float) -> str:
    """A row for each time that both runs have of a subject."""
    lines = not_compared(
        compared.differences,
        map(request_result_name, compared.only_before),
        map(request_result_name, compared.only_after),
    )
    if compared.comparisons:
        rows = [_compared_row(comparison, threshold) for comparison in compared.comparisons]
        lines.append(table(_COMPARED_HEADINGS, rows, ("BEFORE", "AFTER", "CHANGE")))
        lines.append(f"medians in ms; slower: by more than {threshold:.0%}, and more than chance")
    else:
        lines.append("the two runs have no model and way of sending in common")
    return "\n".join(lines)


def _compared_row(comparison: RequestComparison, threshold: float) -> tuple[str, ...]:
    return (
        model_label(comparison.subject.model, synthetic=comparison.synthetic),
        sent_text(comparison.subject),
        comparison.time,
        *change_cells(comparison.before_s, comparison.after_s, comparison.change, threshold),
    )
