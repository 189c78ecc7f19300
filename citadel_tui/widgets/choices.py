"""A row of things to do next, one of them chosen: the mark and the brackets say which, not only the colour."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from msgspec import Struct
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Span, width_of
from citadel_tui.widgets.lines import LineView

_T = TypeVar("_T")


class Option(Struct, Generic[_T], frozen=True):
    """Something that a dialog can end with."""

    label: str
    result: _T
    key: str = ""
    """A letter that chooses it at once."""


class ChoiceBar(LineView, Generic[_T], can_focus=True):
    """The options of a dialog; the first, which must be the safe one, is chosen when it opens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Arrows only: `l` loads where the dashboard is on top, and typed twice it would choose here what nobody meant.
        Binding("left,shift+tab", "choose(-1)", show=False),
        Binding("right,tab", "choose(1)", show=False),
        Binding("enter", "take", show=False),
    ]

    class Taken(Message):
        """The operator agreed to the chosen option."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, options: tuple[Option[_T], ...], glyphs: Glyphs) -> None:
        super().__init__()
        self.add_class("choices")
        self._options = options
        self._glyphs = glyphs
        self._at = 0
        self._ends: list[tuple[int, int]] = []
        """Of each option, its row and the cell after its last one."""

    @property
    def chosen(self) -> Option[_T]:
        return self._options[self._at]

    def on_click(self, event: events.Click) -> None:
        """A click on an option takes it."""
        index = self._option_at(event.x, event.y)
        if index is not None:
            self.post_message(self.Taken(index))

    def action_choose(self, by: int) -> None:
        self._at = (self._at + by) % len(self._options)
        self.paint()

    def action_take(self) -> None:
        self.post_message(self.Taken(self._at))

    def work_out(self) -> None:
        """The options one behind the other, in as many rows as they need."""
        rows: list[Line] = [()]
        self._ends = []
        for index, option in enumerate(self._options):
            part = self._part(option, index == self._at)
            if rows[-1] and width_of((*rows[-1], *part)) > self.size.width:
                rows.append(())
            rows[-1] = (*rows[-1], *part)
            self._ends.append((len(rows) - 1, width_of(rows[-1])))
        self.show(rows)

    def _option_at(self, x: int, y: int) -> int | None:
        return next((index for index, (row, end) in enumerate(self._ends) if row == y and x < end), None)

    def _part(self, option: Option[_T], chosen: bool) -> Line:
        key = f" ({option.key})" if option.key else ""
        label = self._glyphs.text(option.label)
        if chosen:
            return (Span(f"{self._glyphs.cursor}[{label}{key}] ", "key"),)
        return (Span(f"  {label}{key}  "),)
