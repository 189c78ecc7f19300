"""A benchmark as lines: the repeats so far as a histogram, the finished series as a table, and two runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.graph import graph
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, left, right
from citadel_tui.words.bench import efficiency_text, ms_text, result_name, start_text, subject_name
from engine.bench.compare import Compared, Comparison
from engine.bench.histogram import histogram
from engine.bench.measure import Progress
from engine.bench.records import Omission, Run, Series, Subject
from engine.bench.statistics import spread
from engine.core.insight.reference_box import SWITCH_TARGET_S

THRESHOLD: Final = 0.1
"""A median that has grown by more, and by more than chance, is called slower, as `citadel bench compare` does."""
_NUMBER: Final = 8
_STEPS: Final = 32
_ROWS: Final = 4
_ENOUGH_FOR_A_SHAPE: Final = 3
_MOST_NAME: Final = 44
_WIDE: Final = 66
"""From this width on a row has all its columns."""


def progress_lines(now: Progress | None, done: int, of: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Which repeat is under way, and how the times so far spread."""
    if now is None:
        return ((Span("about to begin", "dim"),),)
    name = glyphs.text(subject_name(now.subject))
    series = Span(f"series {done + 1} of {of}: ", "dim")
    head = ((series, Span(name, "strong")), (Span(f"repeat {now.turn}" if now.seconds else now.turn),))
    return (*head, *_shape(now.seconds, width, glyphs))


def _shape(seconds: Sequence[float], width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Always as many lines, so that what stands below does not move."""
    if len(seconds) < _ENOUGH_FOR_A_SHAPE:
        return ((),) * (_ROWS + 1)
    steps = min(_STEPS, width)
    shape = histogram(seconds, steps)
    bars = graph(shape.counts, max(shape.counts), steps, _ROWS, glyphs)
    low, high = ms_text(shape.low), f"{ms_text(shape.high)} ms"
    scale = f"{low}{right(high, max(steps - len(low), len(high) + 1))}"
    return (*((Span(bar, "graph"),) for bar in bars), (Span(scale, "dim"),))


def result_lines(results: Sequence[Series | Omission], width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """A row for each series that has figures, in ms, then what has none and why."""
    found = [result for result in results if isinstance(result, Series)]
    names = _names((series.subject for series in found), width, glyphs)
    left_out = (f"{result_name(result)}: {result.reason}" for result in results if isinstance(result, Omission))
    return (
        *((_heads(names, width), *(_row(series, names, width, glyphs) for series in found)) if found else ()),
        *section("Not measured", sentences(left_out, width, glyphs, "warn")),
    )


def compared_lines(compared: Compared, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Medians before and after, and what differs between the runs; the figures of `citadel bench compare`."""
    names = _names((c.subject for c in compared.comparisons), width, glyphs)
    heads = [Span(right(head, _NUMBER), "head") for head in ("BEFORE", "AFTER", "CHANGE")]
    rows = [line for c in compared.comparisons for line in _compared(c, names, width, glyphs)]
    nothing = sentences(("the two runs have no model, device and tier in common",), width, glyphs, "warn")
    known = (
        *(f"not the same in both: {difference}" for difference in compared.differences),
        *(f"only before: {result_name(series)}" for series in compared.only_before),
        *(f"only after: {result_name(series)}" for series in compared.only_after),
        f"medians of whole switches in ms; slower: by more than {THRESHOLD:.0%}, and more than chance",
    )
    table = ((Span(left("SERIES", names), "head"), *heads), *rows) if rows else nothing
    return (*table, *section("To know", sentences(known, width, glyphs)))


def run_title(run: Run) -> str:
    """What a saved run holds, in a phrase."""
    models = dict.fromkeys(series.subject.model for series in run.series)
    return f"{len(run.series)} series: {', '.join(models)}"


def _names(subjects: Iterable[Subject], width: int, glyphs: Glyphs) -> int:
    """Cells for what is measured, as far as the figures leave room for it."""
    longest = max((len(_name(subject, _MOST_NAME, glyphs)) for subject in subjects), default=0)
    figures = 3 * _NUMBER + 11 if width >= _WIDE else 3 * _NUMBER
    return max(min(longest + 1, _MOST_NAME, width - figures), 8)


def _name(subject: Subject, cells: int, glyphs: Glyphs) -> str:
    """Of what is too long the model is cut: its other series have the same name."""
    where = f" {subject.device} {glyphs.text(start_text(subject))}"
    return cut(glyphs.text(subject.model), max(cells - len(where), 3), glyphs.ellipsis) + where


def _heads(names: int, width: int) -> Line:
    wide = (right("MAX", _NUMBER), right("EFF", 5)) if width >= _WIDE else ()
    figures = (right("P50", _NUMBER), right("P95", _NUMBER), *wide, right(f"<{SWITCH_TARGET_S:g} s", 6))
    return (Span(left("SERIES, ms", names) + "".join(figures), "head"),)


def _row(series: Series, names: int, width: int, glyphs: Glyphs) -> Line:
    whole = spread(series.seconds)
    times = [whole.p50, whole.p95, *([whole.largest] if width >= _WIDE else [])]
    efficiency = right(efficiency_text(series), 5) if width >= _WIDE else ""
    kept = whole.largest < SWITCH_TARGET_S
    mark = glyphs.synthetic if series.synthetic else ""
    return (
        Span(left(mark + _name(series.subject, names - len(mark), glyphs), names, glyphs.ellipsis), "strong"),
        Span("".join(right(ms_text(seconds), _NUMBER) for seconds in times) + efficiency),
        Span(right("yes" if kept else "NO", 6), "good" if kept else "bad"),
    )


def _compared(comparison: Comparison, names: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    change = comparison.change
    role: Role = "bad" if change.is_worse_than(THRESHOLD) else "good"
    verdict = "SLOWER" if change.is_worse_than(THRESHOLD) else "ok"
    between = f"{verdict}, 95 % between {change.low:+.1%} and {change.high:+.1%}"
    figures = (ms_text(comparison.before_s), ms_text(comparison.after_s), f"{change.share:+.1%}")
    row = (
        Span(left(_name(comparison.subject, names, glyphs), names, glyphs.ellipsis), "strong"),
        Span("".join(right(figure, _NUMBER) for figure in figures)),
    )
    told = Span(f"  {between}", role)
    if names + 3 * _NUMBER + len(told.text) <= width:
        return ((*row, told),)
    return (row, (told,))
