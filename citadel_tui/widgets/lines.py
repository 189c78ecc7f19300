"""Paints lines, and on a change only the cells between the first and the last that differ.

Textual writes a refreshed region again in full, so that what is not refreshed is what a slow line saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import ClassVar, Final, get_args

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from citadel_tui.text import clean
from citadel_tui.viewmodel.spans import Line, Role, Span, greyed, width_of

_NO_SPAN: Final = Span("")


class LineView(ScrollView, can_focus=False):
    """A scrollable column of lines."""

    DEFAULT_CSS = """
    LineView { height: auto; scrollbar-size: 0 0; background: transparent; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {*(f"line--{role}" for role in get_args(Role)), "line--cursor"}

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[Line, ...] = ()
        self.muted = False
        """Whether everything is shown greyed, because it may no longer be true."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is shown, for those who test it."""
        return self._lines

    @property
    def plain(self) -> str:
        """The lines without their roles."""
        return "\n".join("".join(span.text for span in line).rstrip() for line in self._lines)

    def show(self, lines: Sequence[Line]) -> None:
        """Show `lines`, repainting what differs from what is there."""
        before, self._lines = self._lines, tuple(greyed(line) for line in lines) if self.muted else tuple(lines)
        if len(before) != len(self._lines):
            self.virtual_size = Size(self.size.width, len(self._lines))
            self.refresh(layout=True)
            return
        for index, (old, new) in enumerate(zip(before, self._lines, strict=True)):
            if old is not new and old != new:
                self._refresh_difference(index, old, new)

    def row_on_screen(self, index: int) -> int:
        """Where in the widget the line `index` is painted; out of the widget when it is scrolled away."""
        return index - self.scroll_offset.y

    def index_at(self, y: int) -> int:
        """Which line is painted in row `y`."""
        return y + self.scroll_offset.y

    def refresh_index(self, index: int) -> None:
        """Paint one line again."""
        self.refresh(Region(0, self.row_on_screen(index), self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        index = self.index_at(y)
        line = self._lines[index] if index < len(self._lines) else ()
        segments = [
            Segment(_safe("".join(span.text for span in spans)), self.style_of(role, index))
            for role, spans in groupby(line, key=lambda span: span.role)
        ]
        return Strip(segments).adjust_cell_length(self.size.width, self.style_of("text", index))

    def style_of(self, role: Role, index: int) -> Style:
        """How `role` looks in the line `index`."""
        return self.get_component_rich_style(f"line--{role}")

    def _refresh_difference(self, index: int, old: Line, new: Line) -> None:
        y = self.row_on_screen(index)
        if 0 <= y < self.size.height:
            start, end = difference(old, new, self.size.width)
            self.refresh(Region(start, y, end - start, 1))


def difference(old: Line, new: Line, width: int) -> tuple[int, int]:
    """The cells from the first span that differs up to where both lines are the same again."""
    start = 0
    for before, after in zip_longest(old, new, fillvalue=_NO_SPAN):
        if before != after:
            break
        start += cell_len(after.text)
    if width_of(old) != width_of(new):
        return start, max(width, start + 1)
    end = width_of(new)
    for before, after in zip(reversed(old), reversed(new), strict=False):
        if before != after or end <= start:
            break
        end -= cell_len(after.text)
    return start, max(min(end, width), start + 1)


def _safe(text: str) -> str:
    """The last guard: whatever came this far with a control character in it leaves without."""
    return text if text.isprintable() else clean(text)
