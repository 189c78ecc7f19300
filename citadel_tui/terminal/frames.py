"""Reads what Textual writes as what it paints: pieces of text, each at its place and with its pen."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from rich.cells import cell_len

from citadel_tui.terminal.pens import Pen, pen_of

_PARTS: Final = re.compile(
    r"\x1b\[(\d+);(?P<place>\d+)H|\x1b\[(?P<codes>[\d;]*)m|(?P<new_line>\n)|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)


class Piece(NamedTuple):
    """Text of one pen in one row. Rows and columns count from 0."""

    row: int
    column: int
    text: str
    pen: Pen


class Frame(NamedTuple):
    """What is painted at once, in the order in which it was written."""

    pieces: tuple[Piece, ...]
    cursor: tuple[int, int] | None
    """The row and column where the cursor is left."""


def frame_of(written: str) -> Frame | None:
    """What `written` paints; None when it does anything but put text at places, or doesn't say where."""
    pieces: list[Piece] = []
    at: tuple[int, int] | None = None
    codes, end = "", 0
    for part in _PARTS.finditer(written):
        # `finditer` steps over what it doesn't know. One unknown sequence is enough: it may have moved the cursor, or cleared
        # cells, and a frame that left it out would be painted over a screen that looks otherwise.
        if part.start() != end:
            return None
        end = part.end()
        match part.lastgroup:
            case "place":
                at = max(int(part[1]) - 1, 0), max(int(part[2]) - 1, 0)  # a terminal takes 0 for 1
            case "codes":
                # Codes add up until a reset: bold, then red, is bold and red.
                codes = f"{codes};{part['codes']}" if part["codes"] not in ("", "0") else ""
            case "text" if at is not None:
                pieces.append(Piece(*at, part["text"], pen_of(codes)))
                at = at[0], at[1] + cell_len(part["text"])
            case "text":
                return None
            case _:
                # Where a line break leads depends on the terminal's modes. Textual follows it with a place.
                at = None
    return Frame(tuple(pieces), at) if written and end == len(written) else None
