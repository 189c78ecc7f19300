"""Tables and texts that fit a terminal: of columns that there is no room for, those of least worth are left out and named; names
are cut in the middle; rows that a screen has no room for are counted. What goes to a file or a pipe has all of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Final, TextIO

from msgspec import Struct
from rich.cells import cell_len

from citadel_tui.cli.output import can_draw
from citadel_tui.text import clean
from citadel_tui.viewmodel.spans import cut_middle, left, right, wrapped

_GAP: Final = 2
_NAME: Final = 24
"""So many cells of a name are worth more than a column that can be left out."""
_LEAST: Final = 8


class Size(Struct, frozen=True):
    """Cells that there are; None where there is no end to them."""

    width: int | None = None
    height: int | None = None
    ellipsis: str = "…"


def size_of(stream: TextIO) -> Size:
    """Of the terminal behind `stream`; without end where there is none."""
    if not stream.isatty():
        return Size()
    size = os.get_terminal_size(stream.fileno())
    return Size(size.columns or None, size.lines or None, "…" if can_draw(stream) else "...")


class TableColumn(Struct, frozen=True):
    """A column of a table that is to fit."""

    heading: str
    worth: int = 0
    """The least is left out first; 0 never is."""
    right: bool = False
    is_name: bool = False
    """Cut where there is no room for all of it."""


class Block(Struct, frozen=True):
    """Lines that belong together, and what each of them is about."""

    lines: tuple[str, ...]
    about: str = ""
    """Such as "models": what each row of a table is, beneath its heading."""
    rows: int = 0

    @property
    def counted(self) -> list[tuple[str, str]]:
        """Each line with what it is counted as where it can't be shown; a heading and a blank line are nothing."""
        what = ["", *[self.about] * self.rows] if self.about else []
        what += ["lines"] * (len(self.lines) - len(what))
        return [*zip(self.lines, what, strict=True), ("", "")]


def table_block(columns: Sequence[TableColumn], rows: Sequence[Sequence[str]], size: Size, about: str) -> Block:
    """The rows beneath the columns' headings, two cells apart; and which columns were left out."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip([c.heading for c in columns], *cells, strict=True)]
    kept = _kept(columns, widths, size.width)
    if size.width is not None:
        widths = _with_names_cut(columns, widths, kept, size.width)
    lines = [
        (" " * _GAP).join(_cell(columns[at], row[at], widths[at], size.ellipsis) for at in kept).rstrip()
        for row in ([c.heading for c in columns], *cells)
    ]
    gone = [column.heading for at, column in enumerate(columns) if at not in kept and column.heading]
    if gone:
        lines += _wrapped(f"no room for {', '.join(gone)}: a wider terminal, a file and --json have them", size)
    return Block(tuple(lines), about, len(rows))


def text_block(text: str, size: Size) -> Block:
    """Sentences, a line each, broken where there is an end to lines."""
    return Block(tuple(line for sentence in text.splitlines() for line in _wrapped(sentence, size)))


def joined(parts: Sequence[Block], size: Size) -> str:
    """The parts with a blank line between them; what there is no room for below is counted in the last line."""
    lines = [line for part in parts for line in part.counted][:-1]
    if size.height is None or len(lines) < size.height:
        return "\n".join(line for line, _ in lines)
    room = max(size.height - 2, 1)  # one line for the count, and one for the cursor
    hidden = Counter(what for _, what in lines[room:] if what)
    count = ", ".join(f"{number} {what}" for what, number in hidden.items())
    return "\n".join([*(line for line, _ in lines[:room]), f"{size.ellipsis} not shown: {count}"])


def _cell(column: TableColumn, text: str, width: int, ellipsis: str) -> str:
    short = _names(text, width, ellipsis) if column.is_name else text
    return right(short, width, ellipsis) if column.right else left(short, width, ellipsis)


def _names(text: str, width: int, ellipsis: str) -> str:
    """A name cut in its middle; of several as many as there is room for, and how many more."""
    names = text.split(", ")
    if cell_len(text) <= width or len(names) == 1:
        return cut_middle(text, width, ellipsis)
    for count in range(len(names) - 1, 0, -1):
        shown = f"{', '.join(names[:count])} +{len(names) - count}"
        if cell_len(shown) <= width:
            return shown
    more = f" +{len(names) - 1}"
    return cut_middle(names[0], width - len(more), ellipsis) + more


def _kept(columns: Sequence[TableColumn], widths: Sequence[int], width: int | None) -> list[int]:
    """Which columns are shown: all, or as many as fit once names have been cut to what they need at least."""
    kept = list(range(len(columns)))
    if width is None:
        return kept
    needed = [min(size, _NAME) if column.is_name else size for column, size in zip(columns, widths, strict=True)]
    for at in sorted((at for at in kept if columns[at].worth), key=lambda at: columns[at].worth):
        if _sum(needed, kept) <= width:
            break
        kept.remove(at)
    return kept


def _with_names_cut(
    columns: Sequence[TableColumn], widths: Sequence[int], kept: Sequence[int], width: int
) -> list[int]:
    """The longest name gives way first, as long as anything is left of it."""
    given = list(widths)
    names = [at for at in kept if columns[at].is_name]
    while names and _sum(given, kept) > width:
        longest = max(names, key=lambda at: given[at])
        if given[longest] <= _LEAST:
            break
        given[longest] -= 1
    return given


def _sum(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[at] for at in kept) + _GAP * (len(kept) - 1)


def _wrapped(sentence: str, size: Size) -> list[str]:
    return [sentence] if size.width is None or cell_len(sentence) <= size.width else wrapped(sentence, size.width)
