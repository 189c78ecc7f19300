"""Columns of time: how long one is, which of them are looked at, and how that is zoomed and scrolled. They begin at whole
multiples of their length, so that what is drawn in them moves on once a column."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

COLUMN_SECONDS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""What a column can be."""
USUAL_S: Final = 20


class View(Struct, frozen=True):
    """Which columns are looked at."""

    column_s: int = USUAL_S
    last: int | None = None
    """Number of the last column: seconds since the epoch ÷ its own; None: it follows the present."""

    def columns(self, now_s: float, count: int) -> range:
        """Numbers of the columns when there are `count` of them."""
        last = int(now_s // self.column_s) if self.last is None else self.last
        return range(last - count + 1, last + 1)

    def zoomed(self, steps: int, now_s: float, count: int) -> View:
        """With columns so many steps shorter, or longer when negative, around the middle where it does not follow the present."""
        at = COLUMN_SECONDS.index(self.column_s) - steps
        column_s = COLUMN_SECONDS[min(max(at, 0), len(COLUMN_SECONDS) - 1)]
        if self.last is None:
            return View(column_s)
        middle_s = (self.columns(now_s, count)[count // 2]) * self.column_s
        return View(column_s, int(middle_s // column_s) + (count - 1) // 2).clipped(now_s)

    def moved(self, columns: int, now_s: float) -> View:
        """So many columns later; at the present it follows that from then on."""
        last = int(now_s // self.column_s) if self.last is None else self.last
        return View(self.column_s, last + columns).clipped(now_s)

    def showing(self, at_s: float, now_s: float, count: int) -> View:
        """Moved as far as needed to have that moment in sight."""
        columns, at = self.columns(now_s, count), int(at_s // self.column_s)
        if at in columns:
            return self
        return View(self.column_s, at + count // 2).clipped(now_s)

    def clipped(self, now_s: float) -> View:
        """Not beyond the present."""
        return View(self.column_s) if self.last is not None and self.last >= now_s // self.column_s else self


def column_text(column_s: int) -> str:
    """How long a column is: "20 s", "5 min", "1 h"."""
    for unit, size in (("h", 3600), ("min", 60)):
        if column_s % size == 0:
            return f"{column_s // size} {unit}"
    return f"{column_s} s"
