"""A benchmark and a comparison of two, as tables for people. Times are in ms; models with random weights say so."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from citadel_tui.cli.labels import model_label
from citadel_tui.cli.selftest import TARGET_S
from citadel_tui.cli.streams import table
from citadel_tui.text import clean
from engine.bench.compare import Compared, Comparison
from engine.bench.records import Omission, Run, Series
from engine.bench.statistics import spread

_HEADINGS: Final = (
    *("MODEL", "DEVICE", "FROM", "MIB", "N", "P50", "P95", "MAX"),
    *("EVICT", "READ", "COPY", "BIND", "WARM", "REST", "FLOOR", "EFF", f"<{TARGET_S:g} s"),
)
_TEXT_HEADINGS: Final = ("MODEL", "DEVICE", "FROM")
_LEGEND: Final = (
    "ms of whole switches (the model out of its device and in again); then medians of their parts. REST: waiting and"
    " messages.\nFLOOR: bytes ÷ the fastest copy seen on the device. EFF: floor ÷ copy, bind and warm. "
    f"<{TARGET_S:g} s: whether the slowest kept to it."
)
_COMPARED_HEADINGS: Final = ("MODEL", "DEVICE", "FROM", "BEFORE", "AFTER", "CHANGE", "95 % BETWEEN", "VERDICT")


def run_text(run: Run) -> str:
    lines = []
    if run.series:
        right = [heading for heading in _HEADINGS if heading not in _TEXT_HEADINGS]
        lines += [table(_HEADINGS, [_row(series) for series in run.series], right), _LEGEND]
    lines += [f"not measured: {_name(o)}: {clean(o.reason)}" for o in run.omissions]
    return "\n".join(lines)


def comparison_text(compared: Compared, threshold: float) -> str:
    lines = [f"not the same in both: {clean(difference)}" for difference in compared.differences]
    lines += [f"only before: {_name(series)}" for series in compared.only_before]
    lines += [f"only after: {_name(series)}" for series in compared.only_after]
    if compared.comparisons:
        rows = [_compared_row(comparison, threshold) for comparison in compared.comparisons]
        lines.append(table(_COMPARED_HEADINGS, rows, ("BEFORE", "AFTER", "CHANGE")))
        lines.append(f"medians of whole switches in ms; slower: by more than {threshold:.0%}, and more than chance")
    else:
        lines.append("the two runs have no model, device and tier in common")
    return "\n".join(lines)


def _row(series: Series) -> tuple[str, ...]:
    about, repeats = series.subject, series.repeats
    whole = spread(series.switch_seconds)
    phases = [repeat.load_phases for repeat in repeats]
    parts = [[p.read for p in phases], [p.copy for p in phases], [p.bind for p in phases], [p.warm for p in phases]]
    rest = [p.queue + p.drain + p.evict + p.settle for p in phases]
    floors = [repeat.floor_s for repeat in repeats if repeat.floor_s is not None]
    efficiencies = [repeat.efficiency for repeat in repeats if repeat.efficiency is not None]
    return (
        model_label(about.model, synthetic=series.synthetic),
        about.device,
        about.tier,
        f"{series.weights_bytes / (1 << 20):.0f}",
        str(whole.count),
        *(_ms(seconds) for seconds in (whole.p50, whole.p95, whole.largest)),
        *(_middle(values) for values in ([repeat.evict_s for repeat in repeats], *parts, rest, floors)),
        f"{median(efficiencies):.0%}" if efficiencies else "-",
        "yes" if whole.largest < TARGET_S else "NO",
    )


def _compared_row(comparison: Comparison, threshold: float) -> tuple[str, ...]:
    about, change = comparison.subject, comparison.change
    return (
        model_label(about.model, synthetic=comparison.synthetic),
        about.device,
        about.tier,
        _ms(comparison.before_s),
        _ms(comparison.after_s),
        f"{change.share:+.1%}",
        f"{change.low:+.1%} and {change.high:+.1%}",
        "SLOWER" if change.is_worse_than(threshold) else "ok",
    )


def _name(result: Series | Omission) -> str:
    about = result.subject
    return f"{model_label(about.model, synthetic=result.synthetic)} on {about.device} from {about.tier}"


def _middle(values: Sequence[float]) -> str:
    return _ms(median(values)) if values else "-"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"
