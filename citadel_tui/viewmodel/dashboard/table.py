"""The model table as lines: which columns there is room for, and a row's text in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len

from citadel_tui.viewmodel.dashboard.rows import ModelRow
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.place_names import place_text, places_text
from citadel_tui.viewmodel.spans import Line, Role, Span, cut_middle, left, right
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
    fit: Callable[[str, int, str], str] = left
    """Its text in so many cells, with an ellipsis; words alone."""
    most: int = 0
    """Of the cells that are free once names have what they need, it takes some until it is so wide."""


_NAME_MIN: Final = 12
_NAME_FIRST: Final = 40
"""Names of up to so many cells are whole before there is a column that not every screen has."""
_EVERY_SCREEN: Final = 76
"""Columns for screens of this width or less are on wider ones in any case."""
_PLACE_MOST: Final = 24
_MARK: Final = 2
"""Cells before a name: the cursor's mark, and the model's colour or that it is marked."""

COLUMNS: Final = (
    Column("WHERE", 9, 0, lambda r: r.where, "where", words=True, fit=places_text, most=14),
    Column("STATE", 8, 0, lambda r: r.state, "state", lambda r: r.state_role, words=True),
    Column("MiB", 5, 0, lambda r: str(r.size_mib), "size"),
    Column("PIN", 4, 0, lambda r: r.pin, "pin", lambda _: "strong", words=True, fit=place_text),
    Column("TASK", 10, 120, lambda r: r.task, "task", lambda _: "dim", words=True),
    Column("DTYPE", 8, 120, lambda r: r.dtype, "dtype", lambda _: "dim", words=True),
    Column("SOURCE", 14, 150, lambda r: r.source, "source", lambda _: "dim", words=True, most=32),
    Column("NOTE", 14, 150, lambda r: r.note, "note", lambda _: "warn", words=True, most=60),
    Column("SWITCH", 6, 0, lambda r: _last_switch(r), "switch", lambda _: "dim"),
    Column("LEASES", 6, 76, lambda r: str(r.leases) if r.leases else "", "leases"),
    Column("WAIT", 5, 100, lambda r: str(r.waiting) if r.waiting else "", "waiting"),
    Column("REQ/MIN", 7, 76, lambda r: _rate(r.per_minute), "requests"),
    Column("RATE", 5, 100, lambda r: rate_text(r.per_s), "rate"),
    Column("FIRST", 6, 100, lambda r: _latency(r.first_part_s), "first"),
    Column("P95", 6, 100, lambda r: _latency(r.p95_s), "p95"),
    Column("IDLE", 4, 77, lambda r: "" if r.idle_s is None else idle_text(r.idle_s), "idle"),
)
_FIRST_FIGURE: Final = "SWITCH"
_BY_WORTH: Final = (
    *("WHERE", "STATE", "MiB", "PIN", "SWITCH", "LEASES", "REQ/MIN", "RATE", "FIRST", "WAIT", "TASK", "DTYPE"),
    *("IDLE", "P95", "SOURCE", "NOTE"),
)
"""The columns' titles, the one that goes last first."""


class TableLayout(Struct, frozen=True):
    """Which columns a screen shows, and how wide the names are."""

    columns: tuple[Column, ...]
    names: int
    gap: int
    """Cells left over, which part what the catalog says from what moves."""


def layout_for(width: int, longest_name: int, longest_place: int = 0) -> TableLayout:
    """The columns for a screen of `width` cells whose longest name takes `longest_name`: those that every screen has, then,
    while names stay whole, the others by their worth. Cells that are left go to names first, and then to what may be long; a
    fleet's places are longer than those of one box."""
    wanted = min(max(longest_name, _NAME_MIN), _NAME_FIRST)
    free = width - _MARK
    chosen: list[Column] = []
    for column in sorted(COLUMNS, key=lambda c: _BY_WORTH.index(c.title)):
        least = _NAME_MIN if column.from_width <= _EVERY_SCREEN else wanted
        if column.from_width <= width and free - column.width - 1 >= least:
            chosen.append(column)
            free -= column.width + 1
    names = min(max(longest_name, _NAME_MIN), max(free, _NAME_MIN))
    free = max(free - names, 0)
    columns = []
    for column in COLUMNS:
        if column in chosen:
            most = max(column.most, min(longest_place, _PLACE_MOST)) if column.sort == "where" else column.most
            more = min(max(most - column.width, 0), free)
            columns.append(replace(column, width=column.width + more))
            free -= more
    return TableLayout(tuple(columns), names, free)


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
    name = cut_middle(glyphs.text(row.name), layout.names - len(mark), glyphs.ellipsis)
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
    return (
        left(column.fit(text, column.width, ellipsis), column.width)
        if column.words
        else right(text, column.width, ellipsis)
    )


def _rate(per_minute: float) -> str:
    if per_minute < 0.05:
        return ""
    return f"{per_minute:.1f}" if per_minute < 10 else f"{per_minute:.0f}"


def _latency(seconds: float | None) -> str:
    return "" if seconds is None else latency_text(seconds)


def _last_switch(row: ModelRow) -> str:
    return "" if row.last_switch_s is None else seconds_text(row.last_switch_s)
