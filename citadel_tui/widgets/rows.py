"""A list of rows with a sticky head and a cursor that stays with its row's key, however the rows are ordered."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.dom import NoScreen
from textual.errors import NoWidget
from textual.message import Message

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Role, Span
from citadel_tui.widgets.lines import LineView

Key = TypeVar("Key", bound=Hashable)

_MOVES: Final = {
    "up": "move(-1)",
    "k": "move(-1)",
    "down": "move(1)",
    "j": "move(1)",
    "pageup": "page(-1)",
    "pagedown": "page(1)",
    "home": "move(-100000)",
    "end": "move(100000)",
}


class RowList(LineView, Generic[Key], can_focus=True):
    """Rows by key, each beginning with a span whose first cell the cursor's mark takes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(key, action, show=False) for key, action in _MOVES.items()]
    mark_unfocused: ClassVar[bool] = True
    """Whether the cursor is seen while another widget has the keys."""

    class Moved(Message):
        """The cursor is on another key now."""

        def __init__(self, rows: RowList[Any]) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> RowList[Any]:
            return self.rows

    class Opened(Message):
        """A row was double-clicked."""

    class HeadClicked(Message):
        """The head was clicked."""

        def __init__(self, x: int, y: int) -> None:
            super().__init__()
            self.x = x
            self.y = y

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs
        self._head: tuple[Line, ...] = ()
        self._rows: tuple[Line, ...] = ()
        self._keys: tuple[Key, ...] = ()
        self._at = 0

    @property
    def cursor(self) -> Key | None:
        """The key of the row under the cursor."""
        return self._keys[self._at] if self._keys else None

    @property
    def hidden(self) -> tuple[int, int]:
        """How many rows are scrolled away above and below."""
        above = int(self.scroll_offset.y)
        return above, max(len(self._rows) - above - max(self.size.height - len(self._head), 0), 0)

    @property
    def in_view(self) -> range:
        """Which rows are on the screen: not those that are scrolled away, nor those that the screen's edge cuts off. All of them
        while it is yet to be seen which will be."""
        try:
            if self.screen._layout_required:
                return range(len(self._rows))
            body = self.screen.find_widget(self).visible_region.height - len(self._head)
        except (NoScreen, NoWidget):
            body = 0
        above = int(self.scroll_offset.y)
        return range(above, max(min(above + body, len(self._rows)), above))

    def show_rows(self, head: Sequence[Line], rows: Mapping[Key, Line]) -> None:
        """Show the rows; the cursor stays on its key, or near where it was when that has gone, and in view where it was."""
        key, seen = self.cursor, self._at in self.in_view
        self._head, self._rows, self._keys = tuple(head), tuple(rows.values()), tuple(rows)
        if key in rows:
            self._at = self._keys.index(key)
        self._at = max(min(self._at, len(self._keys) - 1), 0)
        self._compose_lines()
        if seen:
            self._scroll_to_cursor()
        if self.cursor != key:
            self.post_message(self.Moved(self))

    def put_cursor(self, key: Key) -> None:
        """Move the cursor to the row of `key`, if there is one."""
        if key in self._keys:
            self._put(self._keys.index(key))

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Whether the key only moves about here."""
        return key in _MOVES

    def action_move(self, rows: int) -> None:
        self._put(self._at + rows)

    def action_page(self, pages: int) -> None:
        self._put(self._at + pages * max(self.size.height - len(self._head) - 1, 1))

    def on_focus(self) -> None:
        self._compose_lines()
        self.refresh_index(len(self._head) + self._at)

    def on_blur(self) -> None:
        self.on_focus()

    def on_click(self, event: events.Click) -> None:
        row = self.index_at(event.y) - len(self._head)
        if event.y < len(self._head):
            self.post_message(self.HeadClicked(event.x, event.y))
        elif row < len(self._keys):
            self._put(row)
            if event.chain == 2:
                self.post_message(self.Opened())

    def row_on_screen(self, index: int) -> int:
        # The head stays while the rows scroll away beneath it; a row that would be painted over it is not on the screen.
        return index if index < len(self._head) else super().row_on_screen(index) if self._in_view(index) else -1

    def index_at(self, y: int) -> int:
        return y if y < len(self._head) else super().index_at(y)

    def style_of(self, role: Role, index: int) -> Style:
        style = super().style_of(role, index)
        if not self.has_focus or not self._keys or index != len(self._head) + self._at:
            return style
        cursor = self.look_of("cursor")
        # Where the cursor's row is shown reversed, colours of its own would make it a patchwork.
        return cursor if cursor.reverse else style + Style(bgcolor=cursor.bgcolor)

    def _in_view(self, index: int) -> bool:
        return index - self.scroll_offset.y >= len(self._head)

    def _put(self, index: int) -> None:
        before, self._at = self._at, max(min(index, len(self._keys) - 1), 0)
        if before == self._at:
            return
        self._compose_lines()
        for row in (before, self._at):
            self.refresh_index(len(self._head) + row)
        self._scroll_to_cursor()
        self.post_message(self.Moved(self))

    def _scroll_to_cursor(self) -> None:
        body = self.size.height - len(self._head)
        top = int(self.scroll_offset.y)
        if body < 1:
            return  # no place would have it in view
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, immediate=True)
        elif self._at >= top + body:
            self.scroll_to(y=self._at - body + 1, animate=False, immediate=True)

    def _compose_lines(self) -> None:
        rows = list(self._rows)
        if rows and (self.has_focus or self.mark_unfocused):
            first, *rest = rows[self._at]
            rows[self._at] = (Span(self.glyphs.cursor, "key"), Span(first.text[1:], first.role), *rest)
        self.show((*self._head, *rows))
