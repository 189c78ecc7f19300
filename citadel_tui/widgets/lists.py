"""The dashboard's two lists: the model table, sorted, filtered, its cursor and its marks on models' names; and the switch log,
newest first, its rule saying what the switches amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec.structs import replace

from citadel_tui.settings.settings import ConsoleSettings
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.dashboard.rows import FACETS, Filter, ModelRow, admits, model_rows, parse_filter
from citadel_tui.viewmodel.dashboard.strips import rule_line, summary_line
from citadel_tui.viewmodel.dashboard.table import TableLayout, head_line, layout_for, model_line, sort_key_at, sort_keys
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.log import Log
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.viewmodel.table_order import Sorting, sorted_rows
from citadel_tui.widgets.rows import RowList
from engine.core.records import Record


class ModelTable(RowList[str]):
    """One row a model."""

    def __init__(self, glyphs: Glyphs, sorting: Sorting, wanted: str) -> None:
        super().__init__(glyphs)
        self.scene: Scene | None = None
        self.sorting = sorting
        self.wanted = wanted
        """The filter words, as they were typed."""
        self._marked: dict[str, None] = {}
        self._layout: TableLayout = layout_for(0, 0)
        self._drawn: dict[str, Line] = {}

    @property
    def under_cursor(self) -> Models:
        """The model under the cursor, if there is one and its row is on the screen: nobody means what he doesn't see."""
        return () if self.cursor is None or self._at not in self.in_view else (self.cursor,)

    @property
    def selection(self) -> Models:
        """What the next verb is for: the marked models, in the order of their marks, or the one under the cursor. None while the
        screen shows no model."""
        return (self.marked or self.under_cursor) if self.in_view else ()

    @property
    def marked(self) -> Models:
        return tuple(self._marked)

    def as_left(self, settings: ConsoleSettings) -> ConsoleSettings:
        """`settings` with the order and the filter that are in force."""
        return replace(settings, sorting=self.sorting, wanted=self.wanted)

    def show_scene(self, scene: Scene) -> None:
        self.scene = scene
        self.muted = scene.stale
        self.paint()

    def find(self, wanted: str) -> None:
        """Show only models that have all the words of `wanted`."""
        self.wanted = wanted
        self.paint()

    def sort_next(self) -> None:
        """Sort by the next of the columns that are shown."""
        keys = sort_keys(self._layout)
        at = keys.index(self.sorting.key) if self.sorting.key in keys else -1
        self._sort(Sorting(keys[(at + 1) % len(keys)]))

    def turn_order(self) -> None:
        self._sort(self.sorting.reversed)

    def toggle_mark(self) -> None:
        """Mark the model under the cursor, or no longer, and go on to the next row."""
        if self.cursor is None:
            return
        if self.cursor in self._marked:
            del self._marked[self.cursor]
        else:
            self._marked[self.cursor] = None
        self.action_move(1)
        self._tell_marks()

    def unmark(self) -> None:
        """Forget all marks."""
        self._marked.clear()
        self._tell_marks()

    def work_out(self) -> None:
        width = self.size.width
        if self.scene is None or not width:
            return
        known = model_rows(self.scene, self.glyphs)
        wanted = parse_filter(self.wanted)
        rows = sorted_rows([row for row in known if admits(wanted, row)], self.sorting)
        self._forget_marks_of_the_gone(known)
        before = self._layout
        longest_place = max((len(row.where) for row in known if "/" in row.where), default=0)
        self._layout = layout_for(width, max((len(row.name) + 2 for row in known), default=0), longest_place)
        head = (self._rule(rows, len(known), wanted, width), head_line(self._layout, self.sorting, self.glyphs))
        if self._layout != before:
            self._drawn.clear()
        seen = self.in_view
        self._drawn = {row.name: self._line(row, is_seen=at in seen) for at, row in enumerate(rows)}
        self.show_rows(head, self._drawn)

    def _line(self, row: ModelRow, *, is_seen: bool) -> Line:
        # One that is scrolled away is worked out again when it comes into view, which is a reason to paint.
        drawn = None if is_seen else self._drawn.get(row.name)
        return drawn or model_line(row, self._layout, self.glyphs, marked=row.name in self._marked)

    def on_resize(self) -> None:
        self._scroll_to_cursor()
        self.call_after_refresh(self.paint)  # how many rows are hidden is known only then

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.paint()

    def on_row_list_head_clicked(self, message: RowList.HeadClicked) -> None:
        """A click on a title sorts by its column; on that of the present order, turns it around."""
        if message.y == 0:
            return
        key = sort_key_at(self._layout, message.x)
        self._sort(self.sorting.reversed if key == self.sorting.key else Sorting(key))

    def _sort(self, sorting: Sorting) -> None:
        self.sorting = sorting
        self.paint()

    def _tell_marks(self) -> None:
        self.paint()
        self.post_message(self.Moved(self))

    def _forget_marks_of_the_gone(self, known: Sequence[ModelRow]) -> None:
        if self._marked and known:
            names = {row.name for row in known}
            self._marked = {name: None for name in self._marked if name in names}

    def _rule(self, rows: Sequence[ModelRow], known: int, wanted: Filter, width: int) -> Line:
        middle = [Span(f"{len(rows)} of {known}" if self.wanted.strip() else str(known), "dim")]
        if self.wanted.strip():
            middle.append(Span(f'  with "{self.glyphs.text(self.wanted.strip())}"', "warn"))
        if wanted.unknown:
            middle.append(Span(f"  {self.glyphs.text(wanted.unknown[0])} is none of {FACETS}", "bad"))
        if self.sorting.text:
            middle.append(Span(f"  {self.sorting.text}", "dim"))
        if self._marked:
            shown = sum(row.name in self._marked for row in rows)
            unseen = f", {len(self._marked) - shown} not shown" if shown < len(self._marked) else ""
            middle.append(Span(f"  {self.glyphs.marked} {len(self._marked)} marked{unseen}", "key"))
        above, below = self.hidden
        if above or below:
            middle.append(Span(f"  {self.glyphs.above}{above} {self.glyphs.below}{below}", "dim"))
        legend = f"{self.glyphs.synthetic} synthetic weights" if any(r.synthetic for r in rows) else ""
        return rule_line("MODELS", tuple(middle), legend, Paper(width, self.glyphs))


class SwitchLog(RowList[int]):
    """One row a record, by sequence number. While its cursor is on the newest it follows what comes."""

    mark_unfocused: ClassVar[bool] = False

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self.scene: Scene | None = None
        self._log = Log()
        self._painted: tuple[tuple[Record, ...], Paper, bool] | None = None

    def show_scene(self, scene: Scene) -> None:
        self.scene = scene
        self.muted = scene.stale
        self.paint()

    @property
    def record(self) -> Record | None:
        """The record under the cursor."""
        records = self.scene.records if self.scene else ()
        return next((r for r in records if r.seq == self.cursor), None)

    def work_out(self) -> None:
        width = self.size.width
        if self.scene is None or not width:
            return
        paper = Paper(width, self.glyphs, self.scene.colours)
        if self._painted == (self.scene.records, paper, self.muted):
            return
        self._painted = (self.scene.records, paper, self.muted)
        head = rule_line("SWITCHES", summary_line(self.scene.switches(), paper), "", paper)
        follows = self._at == 0 and self.scroll_offset.y == 0
        self.show_rows((head,), self._log.lines(self.scene.records, paper))
        if follows:
            self.action_move(-len(self._keys))
