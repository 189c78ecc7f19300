"""The figures behind a memory bar, in columns: what is charged of the budget, what else is in use, and shares where they fit.

They carry the marks of the bar's parts, and sum to what the device reports: charged - unused + context + external.
"""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import Occupancy, sum_of
from citadel_tui.words.figures import percent_text
from engine.core.sizes import mib

WIDE: Final = 110
"""From here on a row has room for the device's title and both percentages."""
_WIDEST: Final = 150
"""From here on it has room for the sum, too."""


def device_figures(parts: Occupancy, width: int, glyphs: Glyphs) -> tuple[str, ...]:
    """The columns of a device whose figures are known; an empty text where there is nothing to tell."""
    sums = sum_of(parts)
    return (
        f"{sums.charged}/{mib(parts.budget_bytes)} MiB",
        _marked(glyphs.workspace, sums.unused),
        _marked(glyphs.leaked, mib(parts.leaked_bytes)),
        _marked(glyphs.context, sums.context),
        _marked(glyphs.external, sums.external),
        f"= {sums.used} in use" if width >= _WIDEST else "",
        *_shares(parts, width),
    )


def no_figures(glyphs: Glyphs) -> tuple[str, ...]:
    """The columns of a device that tells nothing."""
    return (f"{glyphs.nothing}/{glyphs.nothing} MiB", "", "", "", "", "", "", "")


def tier_figures(parts: Occupancy, kept: str, width: int) -> tuple[str, ...]:
    """The columns of the RAM tier."""
    charge = kept if width < WIDE else f"{mib(parts.charged_bytes)}/{mib(parts.budget_bytes)} MiB"
    return (charge, "", "", "", "", "", *_shares(parts, width))


def _marked(mark: str, size_mib: int) -> str:
    return f"{mark}{size_mib}" if size_mib else ""


def _shares(parts: Occupancy, width: int) -> tuple[str, str]:
    if width < WIDE:
        return "", ""
    of_budget = percent_text(parts.charged_bytes, parts.budget_bytes)
    of_total = percent_text(parts.charged_bytes, parts.total_bytes)
    return f" {of_budget:>4} of budget", f"{of_total:>4} of total"
