"""Choosing a benchmark: models, devices, where loads start, and how often."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from citadel_tui.screens.dialog import PICTURE
from citadel_tui.viewmodel.bench_choice import Choice, Item, choice_rows, told_line
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList

_AROUND_THE_LIST: Final = 8
"""Rows of the border, the title, and what stands below."""
_KEYS: Final = "space ticks, a all, enter measures, esc goes back"


class BenchChoice(ModalScreen[Choice | None]):
    """Ends with the choice, or with None when the operator backs out."""

    AUTO_FOCUS = "RowList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", show=False),
        PICTURE,
        Binding("space", "tick", show=False),
        Binding("a", "tick_group", show=False),
        Binding("left,h", "repeat(-1)", show=False),
        Binding("right,l", "repeat(1)", show=False),
        Binding("enter", "take", show=False),
    ]

    def __init__(self, choice: Choice, glyphs: Glyphs) -> None:
        super().__init__()
        self._choice = choice
        self._glyphs = glyphs
        self._list: RowList[Item] = RowList(glyphs)
        self._told = Page(self._told_lines, classes="choices")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog" + (" -ascii" if self._glyphs.plain else "")):
            yield Page(lambda width: [(Span("Benchmark: how long switches take", "title"),)], classes="title")
            yield self._list
            yield self._told

    def on_mount(self) -> None:
        self._paint()
        first = next((item for item in self._choice.items if item in self._choice.ticked), None)
        if first is not None:
            self._list.put_cursor(first)

    def on_resize(self, event: events.Resize) -> None:
        self._list.styles.max_height = max(event.size.height - _AROUND_THE_LIST, 3)
        self.call_after_refresh(self._paint)

    def show_scene(self, scene: Scene) -> None:
        """Stays as it was opened: a list that changes under the finger is a trap."""

    def on_row_list_opened(self) -> None:
        self.action_tick()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_tick(self) -> None:
        item = self._list.cursor
        if item is not None and item.group != "repeats":
            self._become(self._choice.turned(item))

    def action_tick_group(self) -> None:
        item = self._list.cursor
        if item is not None and item.group != "repeats":
            self._become(self._choice.with_group(item.group))

    def action_repeat(self, steps: int) -> None:
        self._become(self._choice.with_repeats(steps))

    def action_take(self) -> None:
        if not self._choice.missing:
            self.dismiss(self._choice)

    def _become(self, choice: Choice) -> None:
        self._choice = choice
        self._paint()

    def _paint(self) -> None:
        self._list.show_rows((), choice_rows(self._choice, self._list.size.width, self._glyphs))
        self._told.paint()

    def _told_lines(self, width: int) -> list[Line]:
        return [told_line(self._choice), (Span(_KEYS, "dim"),)]
