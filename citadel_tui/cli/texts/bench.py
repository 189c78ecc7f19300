"""A benchmark and a comparison of two, as tables for people, and a saved one as a picture.

Times are in ms; models with random weights say so. The picture shows what each subject's median switch is made of, and a point
for every repeat; it needs matplotlib.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import can_draw, table
from citadel_tui.cli.picture import empty_figure, save_figure
from citadel_tui.text import clean
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.words.bench import (
    CHANGE_HEADINGS,
    change_cells,
    efficiency_text,
    middle_text,
    ms_text,
    not_compared,
    result_name,
    start_text,
    subject_name,
)
from citadel_tui.words.labels import model_label
from engine.api import EngineError
from engine.bench.compare import BenchComparison, Compared
from engine.bench.measure import Progress
from engine.bench.records import BenchResult, Repeat, Series
from engine.bench.statistics import histogram, spread
from engine.core.records import SWITCH_TARGET_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

_HEADINGS: Final = (
    *("MODEL", "DEVICE", "FROM", "MIB", "N", "P50", "P95", "MAX"),
    *("EVICT", "READ", "COPY", "BIND", "WARM", "REST", "FLOOR", "EFF", f"<{SWITCH_TARGET_S:g} s"),
)
_TEXT_HEADINGS: Final = ("MODEL", "DEVICE", "FROM")
_LEGEND: Final = (
    "ms of whole switches (a model out of the device and this one in); then medians of their parts. REST: waiting and"
    " messages.\nFLOOR: bytes ÷ the fastest copy seen on the device. EFF: floor ÷ read, copy, bind and warm. "
    f"<{SWITCH_TARGET_S:g} s: whether the slowest kept to it.\nFrom resident: requests on the ready model, a text"
    " or a token."
)
_STEPS: Final = 16
"""Of the histogram, a cell each."""
_ENOUGH_FOR_A_SHAPE: Final = 3
_COMPARED_HEADINGS: Final = ("MODEL", "DEVICE", "FROM", *CHANGE_HEADINGS)


def run_text(run: BenchResult) -> str:
    lines = []
    if run.series:
        right = [heading for heading in _HEADINGS if heading not in _TEXT_HEADINGS]
        lines += [table(_HEADINGS, [_row(series) for series in run.series], right), _LEGEND]
        lines += [_quiet(run.machine.sample_s)] if run.machine.sample_s is not None else []
    lines += [f"not measured: {result_name(o)}: {clean(o.reason)}" for o in run.omissions]
    return "\n".join(lines)


def _quiet(sample_s: float) -> str:
    return f"The engine kept quiet: devices read every {sample_s:g} s, sooner where a load waited; no idle work."


def comparison_text(compared: Compared, threshold: float) -> str:
    lines = not_compared(
        compared.differences, map(result_name, compared.only_before), map(result_name, compared.only_after)
    )
    if compared.comparisons:
        rows = [_compared_row(comparison, threshold) for comparison in compared.comparisons]
        lines.append(table(_COMPARED_HEADINGS, rows, ("BEFORE", "AFTER", "CHANGE")))
        lines.append(f"medians of whole switches in ms; slower: by more than {threshold:.0%}, and more than chance")
    else:
        lines.append("the two runs have no model, device and tier in common")
    return "\n".join(lines)


def progress_line(now: Progress) -> str:
    """Which repeat is under way, and how the times so far spread."""
    text = f"{subject_name(now.subject)}: {now.turn}"
    if len(now.seconds) < _ENOUGH_FOR_A_SHAPE:
        return text
    shape = histogram(now.seconds, _STEPS)
    levels = (UNICODE if can_draw(sys.stderr) else ASCII).levels
    bars = "".join(levels[-(-count * (len(levels) - 1) // max(shape.counts))] for count in shape.counts)
    return f"{text}  {ms_text(shape.low)} {bars} {ms_text(shape.high)} ms"


def _row(series: Series) -> tuple[str, ...]:
    whole = spread(series.seconds)
    return (
        model_label(series.subject.model, synthetic=series.synthetic),
        series.subject.device,
        start_text(series.subject),
        f"{series.weights_bytes / (1 << 20):.0f}",
        str(whole.count),
        *(ms_text(seconds) for seconds in (whole.p50, whole.p95, whole.largest)),
        *_parts(series.repeats),
        efficiency_text(series),
        "yes" if whole.largest < SWITCH_TARGET_S else "NO",
    )


def _parts(repeats: Sequence[Repeat]) -> tuple[str, ...]:
    """Medians of what the switches were made of; dashes where nothing was switched."""
    phases = [repeat.load_phases for repeat in repeats]
    parts = [[p.read for p in phases], [p.copy for p in phases], [p.bind for p in phases], [p.warm for p in phases]]
    rest = [p.queue + p.drain + p.evict + p.settle + p.prepare for p in phases]
    floors = [repeat.floor_s for repeat in repeats if repeat.floor_s is not None]
    return tuple(middle_text(values) for values in ([repeat.evict_s for repeat in repeats], *parts, rest, floors))


def _compared_row(comparison: BenchComparison, threshold: float) -> tuple[str, ...]:
    about = comparison.subject
    return (
        model_label(about.model, synthetic=comparison.synthetic),
        about.device,
        start_text(about),
        *change_cells(comparison.before_s, comparison.after_s, comparison.change, threshold),
    )


_PARTS: Final = ("evict", "read", "copy", "bind", "warm", "rest")
_COLOURS: Final = ("#b0b0b0", "#d9a441", "#3d7dca", "#58a66b", "#8d6cab", "#dcdcdc")
_ANSWER_COLOUR: Final = "#58a6b8"


def plotted(run: BenchResult, path: Path) -> Exit:
    """Draw the run to `path`, whose ending says how: .svg, .png or .pdf. Raises EngineError."""
    if not run.series:
        raise EngineError("the run has no figures to draw; nothing was written")
    figure = empty_figure(10.0, 1.4 + 0.45 * len(run.series))
    _draw(figure.subplots(), run)
    figure.legend(handles=_legend(), ncols=len(_PARTS) + 1, fontsize="small", loc="outside lower center")
    save_figure(figure, path)
    return Exit.DONE


def _draw(axes: Axes, run: BenchResult) -> None:
    for row, series in enumerate(run.series):
        left_ms = 0.0
        for colour, part_ms in zip(_colours(series), _parts_ms(series), strict=True):
            axes.barh(row, part_ms, left=left_ms, color=colour, height=0.6)
            left_ms += part_ms
        axes.plot([1e3 * s for s in series.seconds], [row] * len(series.seconds), "k.", markersize=4, alpha=0.6)
    axes.set_yticks(range(len(run.series)), [_label(series) for series in run.series])
    axes.invert_yaxis()
    axes.set_xlabel("ms: medians of the parts, and each repeat as a point")
    if axes.get_xlim()[1] > 1e3 * SWITCH_TARGET_S:
        axes.axvline(1e3 * SWITCH_TARGET_S, color="#c03030", linestyle="--")
    axes.set_title(f"{run.machine.cpu}, {run.machine.cores} cores", fontsize="small")


def _colours(series: Series) -> tuple[str, ...]:
    return _COLOURS if series.repeats else (_ANSWER_COLOUR,)


def _parts_ms(series: Series) -> tuple[float, ...]:
    if not series.repeats:
        return (1e3 * median(series.requests_s),)
    loads = [repeat.load_phases for repeat in series.repeats]
    known = [[getattr(phases, part) for phases in loads] for part in _PARTS[1:-1]]
    rest = [phases.queue + phases.drain + phases.evict + phases.settle + phases.prepare for phases in loads]
    evictions = [repeat.evict_s for repeat in series.repeats]
    return tuple(1e3 * median(seconds) for seconds in (evictions, *known, rest))


def _label(series: Series) -> str:
    kind = ", random weights" if series.synthetic else ""
    return f"{subject_name(series.subject)}{kind}\n{series.weights_bytes / 1e6:.0f} MB"


def _legend() -> list[Patch]:
    from matplotlib.patches import Patch

    named = zip((*_COLOURS, _ANSWER_COLOUR), (*_PARTS, "request"), strict=True)
    return [Patch(color=colour, label=name) for colour, name in named]
