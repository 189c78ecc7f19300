"""Paints lines, and on a change only those that differ; of these, the driver writes the cells that differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Final, Literal, get_args

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.message import Message
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip

from citadel_tui.text import clean
from citadel_tui.viewmodel.spans import Line, Role, greyed

LINE_CLASSES: Final = {*(f"line--{role}" for role in get_args(Role)), "line--cursor"}
"""What a screen of line views has as component classes: Textual works such styles out for each that has them, again and again, so
they are the screen's and not each view's."""


class LineView(ScrollView, can_focus=False):
    """A scrollable column of lines. What breaks while it is painted costs what would have been shown, and not the console."""

    class Broke(Message):
        """Its lines could not be worked out, or not be painted."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    DEFAULT_CSS = """
    LineView { height: auto; scrollbar-size: 0 0; background: transparent; }
    """

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
                self.refresh_index(index)

    def paint(self) -> None:
        """Work the lines out again; where that breaks, what is shown stays."""
        try:
            self.work_out()
        except Exception as error:
            self._tell(error)

    def work_out(self) -> None:
        """Show the lines for how things are now and the width that there is. Lines that are only given need no working out."""

    def on_resize(self) -> None:
        self.paint()

    def _tell(self, error: Exception) -> None:
        # As its own: told while the screen paints it would be the screen's, and Textual lets no message go back to its sender.
        self.post_message(self.Broke(error).set_sender(self))

    def row_on_screen(self, index: int) -> int:
        """Where in the widget the line `index` is painted; out of the widget when it is scrolled away."""
        return index - self.scroll_offset.y

    def index_at(self, y: int) -> int:
        """Which line is painted in row `y`."""
        return y + self.scroll_offset.y

    def refresh_index(self, index: int) -> None:
        """Paint one line again, if it is in view."""
        if 0 <= (y := self.row_on_screen(index)) < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        try:
            return self._strip(y)
        except Exception as error:
            self._tell(error)
            return Strip.blank(self.size.width)

    def _strip(self, y: int) -> Strip:
        index = self.index_at(y)
        line = self._lines[index] if index < len(self._lines) else ()
        paper = self.rich_style
        segments = [
            Segment(_safe("".join(span.text for span in spans)), paper + self.style_of(role, index))
            for role, spans in groupby(line, key=lambda span: span.role)
        ]
        return Strip(segments).adjust_cell_length(self.size.width, paper + self.style_of("text", index))

    def style_of(self, role: Role, index: int) -> Style:
        """How `role` looks in the line `index`, on the view's own colours."""
        return self.look_of(role)

    def look_of(self, name: Role | Literal["cursor"]) -> Style:
        """What the style sheet says of a role, or of the row under the cursor."""
        return self._own_screen.get_component_rich_style(f"line--{name}", partial=True)

    @cached_property
    def _own_screen(self) -> Screen[object]:
        """It stays on the one that it was put on: Textual looks for it among all that lie around, for each piece of text."""
        return self.screen


def _safe(text: str) -> str:
    """The last guard: whatever came this far with a control character in it leaves without."""
    return text if text.isprintable() else clean(text)
