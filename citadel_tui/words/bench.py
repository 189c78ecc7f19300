"""What a benchmark measures and who leaves for it, in a phrase; times in ms, as its tables have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from citadel_tui.text import clean
from citadel_tui.words.figures import running_text
from citadel_tui.words.labels import Label
from engine.bench.records import BenchSubject, Omission, Series
from engine.bench.statistics import MedianChange
from engine.core.state import Resident


def result_name(result: Series | Omission) -> str:
    """The subject, and that its model's weights are random where they are."""
    return f"{subject_name(result.subject)}{' (synthetic)' if result.synthetic else ''}"


def subject_name(about: BenchSubject) -> str:
    """Model, device and tier, in a phrase."""
    return f"{clean(about.model)} on {about.device} from {start_text(about)}"


def start_text(about: BenchSubject) -> str:
    """The tier that loads start from, and who leaves for them."""
    return f"{about.tier}, for {clean(about.leaving)}" if about.leaving else about.tier


def leaving_text(resident: Resident, label: Label) -> str:
    """Who has to leave meanwhile, and what it waits for."""
    wait = f", after {running_text(resident.leases)}" if resident.leases else ""
    return f"{label(resident.model)} leaves {resident.device}{wait}"


def efficiency_text(series: Series) -> str:
    """The median of the repeats' floor ÷ measured; a dash without a floor."""
    known = [repeat.efficiency for repeat in series.repeats if repeat.efficiency is not None]
    return f"{median(known):.0%}" if known else "-"


def middle_text(values: Sequence[float]) -> str:
    """The median of these seconds, in ms; a dash without any."""
    return ms_text(median(values)) if values else "-"


def ms_text(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


def not_compared(differences: Iterable[str], only_before: Iterable[str], only_after: Iterable[str]) -> list[str]:
    """What two runs do not have in common, a line each."""
    return [
        *(f"not the same in both: {clean(difference)}" for difference in differences),
        *(f"only before: {name}" for name in only_before),
        *(f"only after: {name}" for name in only_after),
    ]


CHANGE_HEADINGS: Final = ("BEFORE", "AFTER", "CHANGE", "95 % BETWEEN", "VERDICT")


def change_cells(before_s: float, after_s: float, change: MedianChange, threshold: float) -> tuple[str, ...]:
    """The cells under CHANGE_HEADINGS."""
    return (
        ms_text(before_s),
        ms_text(after_s),
        f"{change.share:+.1%}",
        f"{change.low:+.1%} and {change.high:+.1%}",
        "SLOWER" if change.is_worse_than(threshold) else "ok",
    )
