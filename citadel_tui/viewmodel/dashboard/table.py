"""The model table as lines: which columns there is room for, and a row's text in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from rich.cells import cell_len

from citadel_tui.viewmodel.dashboard.rows import ModelRow
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, left, right
from citadel_tui.viewmodel.table_order import Sorting, SortKey
from citadel_tui.words.figures import idle_text, seconds_text
from citadel_tui.words.requests import latency_text, rate_text


class Column(Struct, frozen=True):
    """A column of the table."""

    title: str
    width: int
    from_width: int
    """Narrowest screen that shows it."""
    text: Callable[[ModelRow], str]
    sort: SortKey
    """The sort order that this column shows."""
    role: Callable[[ModelRow], Role] = lambda _: "text"
    words: bool = False
    """Whether it holds words, which start at the left; figures end at the right."""


_NAME_MIN: Final = 12
_MARK: Final = 2
"""Cells before a name: the cursor's mark, and the model's colour or that it is marked."""

COLUMNS: Final = (
    Column("WHERE", 9, 0, lambda r: r.where, "where", words=True),
    Column("STATE", 8, 0, lambda r: r.state, "state", lambda r: r.state_role, words=True),
    Column("MiB", 5, 0, lambda r: str(r.size_mib), "size"),
    Column("PIN", 4, 0, lambda r: r.pin, "pin", lambda _: "strong", words=True),
    Column("TASK", 10, 110, lambda r: r.task, "task", lambda _: "dim", words=True),
    Column("DTYPE", 8, 120, lambda r: r.dtype, "dtype", lambda _: "dim", words=True),
    Column("SOURCE", 32, 160, lambda r: r.source, "source", lambda _: "dim", words=True),
    Column("NOTE", 30, 192, lambda r: r.note, "note", lambda _: "warn", words=True),
    Column("SWITCH", 6, 0, lambda r: _last_switch(r), "switch", lambda _: "dim"),
    Column("LEASES", 6, 76, lambda r: str(r.leases) if r.leases else "", "leases"),
    Column("WAIT", 5, 100, lambda r: str(r.waiting) if r.waiting else "", "waiting"),
    Column("REQ/MIN", 7, 76, lambda r: _rate(r.per_minute), "requests"),
    Column("RATE", 5, 100, lambda r: rate_text(r.per_s), "rate"),
    Column("FIRST", 6, 128, lambda r: _latency(r.first_part_s), "first"),
    Column("P95", 6, 100, lambda r: _latency(r.p95_s), "p95"),
    Column("IDLE", 4, 0, lambda r: "" if r.idle_s is None else idle_text(r.idle_s), "idle"),
)
_FIRST_FIGURE: Final = "SWITCH"


class TableLayout(Struct, frozen=True):
    """Which columns a screen shows, and how wide the names are."""

    columns: tuple[Column, ...]
    names: int
    gap: int
    """Cells left over, which part what the catalog says from what moves."""


def layout_for(width: int, longest_name: int) -> TableLayout:
    """The columns for a screen of `width` cells whose longest name takes `longest_name`."""
    columns = tuple(c for c in COLUMNS if width >= c.from_width)
    room = max(width - _MARK - sum(c.width + 1 for c in columns), _NAME_MIN)
    names = min(max(longest_name, _NAME_MIN), room)
    return TableLayout(columns, names, room - names)


def head_line(layout: TableLayout, sorting: Sorting, glyphs: Glyphs) -> Line:
    """The column titles, the one sorted by marked."""
    mark = glyphs.above if sorting.reverse else glyphs.below
    title = f"MODEL{mark}" if sorting.key == "name" else "MODEL"
    spans = [Span(" " * _MARK + left(title, layout.names), "head")]
    for column in layout.columns:
        text = column.title + (mark if column.sort == sorting.key else "")
        spans.append(Span(_before(column, layout) + _aligned(column, text, ""), "head"))
    return tuple(spans)


def sort_keys(layout: TableLayout) -> tuple[SortKey, ...]:
    """The orders that `layout` has a column for, from left to right; the catalog's own first."""
    return ("catalog", "name", *(column.sort for column in layout.columns))


def sort_key_at(layout: TableLayout, x: int) -> SortKey:
    """The order that the column over the cell `x` shows."""
    right_edge = _MARK + layout.names
    if x < right_edge:
        return "name"
    for column in layout.columns:
        right_edge += cell_len(_before(column, layout)) + column.width
        if x < right_edge:
            return column.sort
    return layout.columns[-1].sort


def model_line(row: ModelRow, layout: TableLayout, glyphs: Glyphs, *, marked: bool) -> Line:
    """A row, without the cursor's mark, which the widget sets in the first cell."""
    mark = f" {glyphs.synthetic}" if row.synthetic else ""
    name = cut(glyphs.text(row.name), layout.names - len(mark), glyphs.ellipsis)
    facts = tuple(
        Span(_before(c, layout) + _aligned(c, c.text(row), glyphs.ellipsis), c.role(row)) for c in layout.columns
    )
    return (
        Span(" "),
        Span(glyphs.marked, "key") if marked else Span(glyphs.swatch, row.block),
        Span(name, "strong"),
        Span(left(mark, layout.names - cell_len(name)), "warn"),
        *facts,
    )


def _before(column: Column, layout: TableLayout) -> str:
    return " " * (1 + layout.gap) if column.title == _FIRST_FIGURE else " "


def _aligned(column: Column, text: str, ellipsis: str) -> str:
    return left(text, column.width, ellipsis) if column.words else right(text, column.width, ellipsis)


def _rate(per_minute: float) -> str:
    if per_minute < 0.05:
        return ""
    return f"{per_minute:.1f}" if per_minute < 10 else f"{per_minute:.0f}"


def _latency(seconds: float | None) -> str:
    return "" if seconds is None else latency_text(seconds)


def _last_switch(row: ModelRow) -> str:
    return "" if row.last_switch_s is None else seconds_text(row.last_switch_s)
