"""What a terminal shows of what was written to it: cells with the codes that they were drawn with.

It knows places, steps to the right, colours and text, which is what the console paints with; other sequences it passes over.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, TypeAlias

from rich.cells import cell_len

_PARTS: Final = re.compile(
    r"\x1b\[(?P<row>\d*);?(?P<place>\d*)H|\x1b\[(?P<step>\d*)C|\x1b\[(?P<codes>[\d;]*)m"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[^@-~]*[@-~]|(?P<control>[\x00-\x1f\x7f])|(?P<text>[^\x00-\x1f\x7f]+)"
)
_FIRST_CODE_OF: Final = {**dict.fromkeys(map(str, (*range(30, 40), *range(90, 98))), "ink")} | dict.fromkeys(
    map(str, (*range(40, 50), *range(100, 108))), "ground"
)
_SEEN_ON_BLANKS: Final = frozenset({"4", "7", "9", "21", "51", "52", "53"})

Drawn: TypeAlias = dict[str, str]
"""The codes in force, by what they set."""
Cells: TypeAlias = list[list[tuple[str, Drawn]]]
"""Rows of characters, each with how it is drawn."""


class Screen:
    """A grid of cells; what goes beyond an edge stays in the last column or row, as where lines don't wrap."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._cells: Cells = [[("?", {})] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._drawn: Drawn = {}

    def write(self, text: str) -> None:
        for part in _PARTS.finditer(text):
            match part.lastgroup:
                case "place":
                    self._row = min(int(part["row"] or 1), len(self._cells)) - 1
                    self._column = int(part["place"] or 1) - 1
                case "step":
                    self._column += int(part["step"] or 1)
                case "codes":
                    self._drawn = drawn_with(part["codes"], self._drawn)
                case "text":
                    self._put(part["text"])
                case _:
                    pass

    def seen(self) -> Cells:
        """The cells, without what can't be seen of a blank."""
        return [[(character, _seen(character, drawn)) for character, drawn in row] for row in self._cells]

    def _put(self, text: str) -> None:
        for character in text:
            width = cell_len(character)
            row = self._cells[self._row]
            if not width:
                before = max(self._column - 1, 0)
                row[before] = (row[before][0] + character, row[before][1])
                continue
            self._column = min(self._column, self._columns - width)
            self._free(self._column, self._column + width)
            row[self._column] = (character, self._drawn)
            row[self._column + 1 : self._column + width] = [("", self._drawn)] * (width - 1)
            self._column += width

    def _free(self, start: int, end: int) -> None:
        """What is left of characters that are half in these cells is blank."""
        row = self._cells[self._row]
        if row[start][0] == "" and start:
            row[start - 1] = (" ", {})
        if end < self._columns and row[end][0] == "":
            row[end] = (" ", {})


def drawn_with(codes: str, before: Drawn) -> Drawn:
    """The codes in force after `codes`, those in force before them being `before`."""
    drawn = dict(before)
    rest = iter(codes.split(";"))
    for code in rest:
        if code in ("", "0"):
            drawn = {}
        elif code in ("39", "49"):
            drawn.pop(_FIRST_CODE_OF[code], None)
        elif code in ("38", "48"):
            kind = next(rest)
            drawn[_FIRST_CODE_OF[code]] = ";".join((kind, *islice(rest, 3 if kind == "2" else 1)))
        else:
            drawn[_FIRST_CODE_OF.get(code, code)] = code
    return drawn


def _seen(character: str, drawn: Drawn) -> Drawn:
    if character != " " or _SEEN_ON_BLANKS.intersection(drawn):
        return drawn
    return {kind: code for kind, code in drawn.items() if kind == "ground"}
