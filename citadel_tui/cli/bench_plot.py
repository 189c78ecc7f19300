"""A saved benchmark as a picture: what each subject's median switch is made of, and a point for every repeat."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, Final

from citadel_tui.cli.exits import Exit
from citadel_tui.words.bench import subject_name
from engine.api import EngineError
from engine.bench.records import Run, Series
from engine.core.insight.reference_box import SWITCH_TARGET_S

_PARTS: Final = ("evict", "read", "copy", "bind", "warm", "rest")
_COLOURS: Final = ("#b0b0b0", "#d9a441", "#3d7dca", "#58a66b", "#8d6cab", "#dcdcdc")
_ANSWER_COLOUR: Final = "#58a6b8"


def plotted(run: Run, path: Path) -> Exit:
    """Draw the run to `path`, whose ending says how: .svg, .png or .pdf. Raises EngineError."""
    if not run.series:
        raise EngineError("the run has no figures to draw; nothing was written")
    try:
        figure: Any = import_module("matplotlib.figure").Figure(
            figsize=(10, 1.4 + 0.45 * len(run.series)), layout="constrained"
        )
    except ImportError:
        raise EngineError(
            "drawing needs matplotlib, which is not installed: pip install 'citadel-tui[plot]'; nothing was written"
        ) from None
    _draw(figure.subplots(), run)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} can't be drawn: {error}") from None
    return Exit.DONE


def _draw(axes: Any, run: Run) -> None:  # noqa: ANN401 - matplotlib is optional and brings no types here
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
    axes.figure.legend(handles=_legend(), ncols=len(_PARTS) + 1, fontsize="small", loc="outside lower center")


def _colours(series: Series) -> tuple[str, ...]:
    return _COLOURS if series.repeats else (_ANSWER_COLOUR,)


def _parts_ms(series: Series) -> tuple[float, ...]:
    if not series.repeats:
        return (1e3 * median(series.requests_s),)
    loads = [repeat.load_phases for repeat in series.repeats]
    known = [[getattr(phases, part) for phases in loads] for part in _PARTS[1:-1]]
    rest = [phases.queue + phases.drain + phases.evict + phases.settle for phases in loads]
    evictions = [repeat.evict_s for repeat in series.repeats]
    return tuple(1e3 * median(seconds) for seconds in (evictions, *known, rest))


def _label(series: Series) -> str:
    kind = ", random weights" if series.synthetic else ""
    return f"{subject_name(series.subject)}{kind}\n{series.weights_bytes / 1e6:.0f} MB"


def _legend() -> list[Any]:
    patch: Any = import_module("matplotlib.patches").Patch
    named = zip((*_COLOURS, _ANSWER_COLOUR), (*_PARTS, "request"), strict=True)
    return [patch(color=colour, label=name) for colour, name in named]
