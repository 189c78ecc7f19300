"""The model table as lines: which columns there is room for, and a row's text in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from rich.cells import cell_len

from citadel_tui.viewmodel.figures import idle_text, seconds_text
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.models import ModelRow, SortKey
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, left, right


class Column(Struct, frozen=True):
    """A column of the table."""

    title: str
    width: int
    from_width: int
    """Narrowest screen that shows it."""
    text: Callable[[ModelRow], str]
    role: Callable[[ModelRow], Role] = lambda _: "text"
    sort: SortKey | None = None
    """The sort order that this column shows."""
    words: bool = False
    """Whether it holds words, which start at the left; figures end at the right."""


_NAME_MIN: Final = 12
_MARK: Final = 2
"""Cells of the cursor's mark before a name."""

COLUMNS: Final = (
    Column("WHERE", 9, 0, lambda r: r.where, sort="where", words=True),
    Column("STATE", 8, 0, lambda r: r.state, lambda r: r.state_role, words=True),
    Column("MiB", 5, 0, lambda r: str(r.size_mib), sort="size"),
    Column("PIN", 4, 0, lambda r: r.pin, lambda _: "strong", words=True),
    Column("TASK", 10, 96, lambda r: r.task, lambda _: "dim", words=True),
    Column("DTYPE", 8, 106, lambda r: r.dtype, lambda _: "dim", words=True),
    Column("SOURCE", 32, 140, lambda r: r.source, lambda _: "dim", words=True),
    Column("NOTE", 30, 184, lambda r: r.note, lambda _: "warn", words=True),
    Column("SWITCH", 6, 0, lambda r: _last_switch(r), lambda _: "dim"),
    Column("LEASES", 6, 76, lambda r: str(r.leases) if r.leases else ""),
    Column("REQ/MIN", 7, 76, lambda r: _rate(r.per_minute), sort="requests"),
    Column("IDLE", 4, 0, lambda r: "" if r.idle_s is None else idle_text(r.idle_s), sort="idle"),
)
_FIRST_FIGURE: Final = "SWITCH"
MOVING_WIDTH: Final = 13
"""Cells of the columns at the right edge whose figures move all the time, REQ/MIN and IDLE."""


class Layout(Struct, frozen=True):
    """Which columns a screen shows, and how wide the names are."""

    columns: tuple[Column, ...]
    names: int
    gap: int
    """Cells left over, which part what the catalog says from what moves."""


def layout_for(width: int, longest_name: int) -> Layout:
    """The columns for a screen of `width` cells whose longest name takes `longest_name`."""
    columns = tuple(c for c in COLUMNS if width >= c.from_width)
    room = max(width - _MARK - sum(c.width + 1 for c in columns), _NAME_MIN)
    names = min(max(longest_name, _NAME_MIN), room)
    return Layout(columns, names, room - names)


def head_line(layout: Layout, sort: SortKey, glyphs: Glyphs) -> Line:
    """The column titles, the one sorted by marked."""
    mark = glyphs.below
    title = f"MODEL{mark}" if sort == "name" else "MODEL"
    spans = [Span(" " * _MARK + left(title, layout.names), "head")]
    for column in layout.columns:
        text = column.title + (mark if column.sort == sort else "")
        spans.append(Span(_before(column, layout) + _aligned(column, text, ""), "head"))
    return tuple(spans)


def model_line(row: ModelRow, layout: Layout, glyphs: Glyphs) -> Line:
    """A row, without the cursor's mark, which the widget sets."""
    mark = f" {glyphs.synthetic}" if row.synthetic else ""
    name = cut(glyphs.text(row.name), layout.names - len(mark), glyphs.ellipsis)
    facts = tuple(
        Span(_before(c, layout) + _aligned(c, c.text(row), glyphs.ellipsis), c.role(row)) for c in layout.columns
    )
    return (Span(" " * _MARK), Span(name, "strong"), Span(left(mark, layout.names - cell_len(name)), "warn"), *facts)


def _before(column: Column, layout: Layout) -> str:
    return " " * (1 + layout.gap) if column.title == _FIRST_FIGURE else " "


def _aligned(column: Column, text: str, ellipsis: str) -> str:
    return left(text, column.width, ellipsis) if column.words else right(text, column.width, ellipsis)


def _rate(per_minute: float) -> str:
    if per_minute < 0.05:
        return ""
    return f"{per_minute:.1f}" if per_minute < 10 else f"{per_minute:.0f}"


def _last_switch(row: ModelRow) -> str:
    return "" if row.last_switch_s is None else seconds_text(row.last_switch_s)
