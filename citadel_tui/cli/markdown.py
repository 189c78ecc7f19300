"""Pieces of a Markdown document: tables that no cell can break, shares and moments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from citadel_tui.text import clean


def rows(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """A table; nothing in a cell can end it."""
    lines = [headings, ["---"] * len(headings), *cells]
    return "\n".join("| " + " | ".join(clean(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
