"""What the terminal shows, as far as that is known, and what must be written so that it shows a frame.

A character that some terminals take for wider or narrower than others makes its row unknown: it is written as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from rich.cells import cell_len

from citadel_tui.terminal.frames import Frame, Piece
from citadel_tui.terminal.pens import PLAIN, Pen, change, on_blanks

Cell: TypeAlias = tuple[str, Pen]
"""A character that takes one cell, and its pen: of a blank, what is seen of it."""


class Shown:
    """The cells of the terminal's screen. Nothing is known of them at first."""

    def __init__(self) -> None:
        self._columns = 0
        self._cells: list[list[Cell | None]] = []
        self._cursor: tuple[int, int] | None = None

    def fit(self, columns: int, rows: int) -> None:
        """Take the screen's size, which may be nothing; with a new one nothing is known any more."""
        if (columns, rows) != (self._columns, len(self._cells)):
            self._columns = columns
            self._clear(rows)

    def forget(self) -> None:
        """Take nothing for known: the next frame is written in full."""
        self._clear(len(self._cells))

    def turn_to(self, frame: Frame) -> str:
        """What makes the terminal show `frame`, and take it as shown; empty when it does already.

        What lies out of the screen is left out: a terminal would put it at the edge. A frame may be for another size, as it is
        while somebody drags the window's edge.
        """
        brush, painted = Brush(), False
        for piece in frame.pieces:
            if piece.row < len(self._cells) and piece.column < self._columns:
                painted |= self._paint(piece, brush) if _is_plain(piece.text) else self._paint_unsure(piece, brush)
        cursor = self._on_screen(frame.cursor)
        if not painted and cursor == self._cursor:
            return ""
        self._cursor = cursor
        return brush.leave(cursor)

    def _on_screen(self, place: tuple[int, int] | None) -> tuple[int, int] | None:
        """The place, or where a terminal would put a cursor that is sent there."""
        if place is None or not self._cells or not self._columns:
            return None
        return min(place[0], len(self._cells) - 1), min(place[1], self._columns - 1)

    def _clear(self, rows: int) -> None:
        self._cells = [[None] * self._columns for _ in range(rows)]
        self._cursor = None

    def _paint(self, piece: Piece, brush: Brush) -> bool:
        row, blank, painted = self._cells[piece.row], on_blanks(piece.pen), False
        for column, character in enumerate(piece.text[: self._columns - piece.column], piece.column):
            cell = (character, blank if character == " " else piece.pen)
            if row[column] != cell:
                row[column] = cell
                brush.draw(piece.row, column, row)
                painted = True
        return painted

    def _paint_unsure(self, piece: Piece, brush: Brush) -> bool:
        # Terminals differ on how many cells such a character takes: what it covers, and where the piece ends, is not known. A row
        # that has one is written as it came, each time; there are few.
        self._cells[piece.row][:] = [None] * self._columns
        brush.draw_text(piece.row, piece.column, _cut(piece.text, self._columns - piece.column), piece.pen)
        return True


def _cut(text: str, room: int) -> str:
    """What of `text` fits into `room` cells. A wide character of which only half would is a blank, as a terminal has it."""
    taken = 0
    for at, character in enumerate(text):
        if taken + cell_len(character) > room:
            return text[:at] + " " * (room - taken)
        taken += cell_len(character)
    return text


@lru_cache(4096)
def _is_plain(text: str) -> bool:
    """Whether each character takes one cell."""
    return text.isascii() or all(cell_len(character) == 1 for character in set(text))


class Brush:
    """Starts at an unknown place with the plain pen, and leaves the plain pen behind."""

    def __init__(self) -> None:
        self._written: list[str] = []
        self._at: tuple[int, int] | None = None
        self._pen = PLAIN

    def draw(self, number: int, column: int, row: Sequence[Cell | None]) -> None:
        """Write the cell `column` of `row`, the row `number` of the screen as it is to be."""
        cell = row[column]
        assert cell is not None, "what is drawn is known"
        self._reach(number, column, row)
        self._take(cell)
        self._written.append(cell[0])
        # In the last column a terminal's cursor stays, or waits beyond it.
        self._at = (number, column + 1) if column + 1 < len(row) else None

    def draw_text(self, number: int, column: int, text: str, pen: Pen) -> None:
        """Write text of whatever width; where the cursor is afterwards is the terminal's affair."""
        self._written.extend((_place(number, column), change(self._pen, pen), text))
        self._at, self._pen = None, pen

    def leave(self, cursor: tuple[int, int] | None) -> str:
        """All that is to be written, the cursor's way to where it is to stay included."""
        self._written.append(change(self._pen, PLAIN))
        if cursor is not None and cursor != self._at:
            self._written.append(_place(*cursor))
        return "".join(self._written)

    def _reach(self, number: int, column: int, row: Sequence[Cell | None]) -> None:
        if self._at == (number, column):
            return
        if self._at is None or self._at[0] != number or self._at[1] > column:
            self._written.append(_place(number, column))
            return
        before = self._at[1]
        step = f"\x1b[{column - before}C" if column - before > 1 else "\x1b[C"
        text = self._as_text(row[before:column]) if column - before <= len(step) else None
        self._written.append(text if text is not None and len(text.encode()) <= len(step) else step)

    def _as_text(self, cells: Sequence[Cell | None]) -> str | None:
        """The characters of `cells`, when all of them can be written once more as the pen is."""
        characters = [cell[0] for cell in cells if cell is not None and self._fits(cell)]
        return "".join(characters) if len(characters) == len(cells) else None

    def _fits(self, cell: Cell) -> bool:
        return cell[1] == (on_blanks(self._pen) if cell[0] == " " else self._pen)

    def _take(self, cell: Cell) -> None:
        if not self._fits(cell):
            self._written.append(change(self._pen, cell[1]))
            self._pen = cell[1]


def _place(number: int, column: int) -> str:
    if column:
        return f"\x1b[{number + 1};{column + 1}H"
    return f"\x1b[{number + 1}H" if number else "\x1b[H"
