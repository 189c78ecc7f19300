"""Rows of the devices' table as lines: columns as wide as the widest of their cells, bars of one length, and below a row what it
has no room to say itself. A line that says what it said before is not worked out again."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from citadel_tui.actions import DEVICE_IDS
from citadel_tui.viewmodel.dashboard.bars import bar, names_text, unnamed
from citadel_tui.viewmodel.memory_map import Occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, filled, greyed, left, right, width_of, wrapped
from engine.core.names import DeviceId

_LABEL: Final = 6
_REASON_LINES: Final = 2
_NAMES_SHARE: Final = 2
"""The names beside the bars take at most half of the room."""


class Row(NamedTuple):
    """A device, a box, or what stands for several."""

    id: DeviceId
    """Of what it tells; empty for several."""
    label: str
    head: tuple[str, ...]
    parts: Occupancy | None
    """What the bar is made of; None where there is no bar."""
    figures: tuple[str, ...]
    health: str = ""
    """Empty when all is well."""
    reason: str = ""
    role: Role = "text"
    cause: str = ""
    """Of its trouble: neighbours with the same say it once."""


class _Columns(NamedTuple):
    """Cells of each part of a row, the same in all rows."""

    label: int
    head: tuple[int, ...]
    bar: int
    names: int
    figures: tuple[int, ...]


Painted: TypeAlias = MutableMapping[str, tuple[Row, _Columns, Paper, Line]]
"""The newest line of each row, and what it was made from."""


class Rows(NamedTuple):
    """Lines, and what the row that each belongs to tells of."""

    lines: tuple[Line, ...]
    ids: tuple[DeviceId, ...]


def laid_out(rows: Sequence[Row], paper: Paper, most: int, painted: Painted) -> Rows:
    """A line for each row, of which there are at most `most`; one in trouble has up to two lines more, where they fit."""
    columns = _columns(rows, paper)
    lines: list[tuple[Line, DeviceId]] = []
    spare = most - len(rows)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        lines.append((_painted(row, columns, paper, painted), row.id))
        # A broken driver gives all its cards the same reason, which stands once, under the last of them.
        if following is None or not _is_said_by(following, row):
            below = _below(row, columns, paper)[: max(spare, 0)]
            lines.extend((paper.filled(line), row.id) for line in below)
            spare -= len(below)
    return Rows(tuple(line for line, _ in lines), tuple(id for _, id in lines))


def _painted(row: Row, columns: _Columns, paper: Paper, painted: Painted) -> Line:
    key = row.id or row.label
    before = painted.get(key)
    if before is not None and before[:3] == (row, columns, paper):
        return before[3]
    line = paper.filled(_line(row, columns, paper))
    painted[key] = (row, columns, paper, line)
    return line


def _columns(rows: Sequence[Row], paper: Paper) -> _Columns:
    most_heads, most_figures = max(len(row.head) for row in rows), max(len(row.figures) for row in rows)
    head = tuple(max(width_of((Span(row.head[at]),)) for row in rows if at < len(row.head)) for at in range(most_heads))
    figures = tuple(max(len(row.figures[at]) for row in rows if at < len(row.figures)) for at in range(most_figures))
    label = max(_LABEL, *(len(row.label) + 2 for row in rows))
    room = max(paper.width - label - sum(size + 1 for size in (*head, *figures) if size) - 1, 0)
    names = min(max(_names_wanted(row, room, paper) for row in rows), room // _NAMES_SHARE)
    return _Columns(label, head, room - names, names, figures)


def _names_wanted(row: Row, room: int, paper: Paper) -> int:
    """Cells for the names that a bar in the rest of the room has no room for."""
    if row.parts is None:
        return 0
    small = unnamed(row.parts, replace(paper, width=room - room // _NAMES_SHARE))
    return width_of((Span(names_text(small, replace(paper, width=paper.width))),)) + 1 if small else 0


def _line(row: Row, columns: _Columns, paper: Paper) -> Line:
    name = Span(left(f" {row.label}", columns.label), "strong")
    if not row.head:
        return (name, Span(row.health, row.role))
    cells = (*row.head, *("" for _ in columns.head[len(row.head) :]))
    head = "".join(
        (left if at == 0 else right)(cell, size) + " "
        for at, (cell, size) in enumerate(zip(cells, columns.head, strict=True))
        if size
    )
    figures = "".join(" " + right(text, size) for text, size in zip(row.figures, columns.figures, strict=True) if size)
    told: Role = "dim" if row.health else "text"
    return (name, Span(head, "dim"), *_body(row, columns, paper), Span(figures + " ", told))


def _body(row: Row, columns: _Columns, paper: Paper) -> Line:
    """The bar and the names beside it, or words in their place."""
    room = columns.bar + columns.names
    if row.parts is not None:
        on = replace(paper, width=columns.bar)
        names = names_text(unnamed(row.parts, on), replace(paper, width=max(columns.names - 1, 0)))
        beside = (Span(left(f" {names}", columns.names)),) if columns.names else ()
        drawn = (*bar(row.parts, on), *beside)
        return greyed(drawn) if row.health else drawn
    words = (Span(_sentence(row), row.role),)
    fits = width_of(words) <= room
    return filled(words if fits else (Span(row.health, row.role),), room, paper.glyphs.ellipsis)


def _is_said_by(following: Row, row: Row) -> bool:
    """Whether the next row's words are this one's, too. Only a driver that hangs makes cards stale, and then all of them."""
    if following.cause != row.cause:
        return False
    if row.parts is not None and following.parts is not None:
        return bool(row.health and following.health)
    return row.parts is following.parts and row.reason == following.reason


def _below(row: Row, columns: _Columns, paper: Paper) -> tuple[Line, ...]:
    """What the row itself has no room to say of its trouble, in two lines; cut short, it names the key of the device's page."""
    room = columns.bar + columns.names
    words = _sentence(row) if row.parts is not None else row.reason
    if not row.health or not words or (row.parts is None and width_of((Span(_sentence(row)),)) <= room):
        return ()
    inner = paper.width - columns.label - 1
    pieces = wrapped(words, inner)
    if len(pieces) > _REASON_LINES:
        more = paper.glyphs.ellipsis + _key_of_page(row.id)
        pieces = [
            *pieces[: _REASON_LINES - 1],
            cut(pieces[_REASON_LINES - 1], inner - width_of((Span(more),)), "") + more,
        ]
    return tuple((Span(" " * columns.label), Span(piece, row.role)) for piece in pieces)


def _key_of_page(device: str) -> str:
    return f" (key {device[-1]} shows all)" if device in DEVICE_IDS else ""


def _sentence(row: Row) -> str:
    return f"{row.health}: {row.reason}" if row.reason else row.health
