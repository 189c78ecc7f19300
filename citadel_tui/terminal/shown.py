"""What the terminal shows, as far as that is known, and what must be written so that it shows a frame.

A character that some terminals take for wider or narrower than others makes its row unknown: it is written as it came.
"""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len

from citadel_tui.paint.brush import Brush, Cell
from citadel_tui.terminal.frames import Frame, Piece
from citadel_tui.terminal.pens import on_blanks


class Shown:
    """The cells of the terminal's screen. Nothing is known of them at first."""

    def __init__(self) -> None:
        self._columns = 0
        self._cells: list[list[Cell | None]] = []
        self._cursor: tuple[int, int] | None = None

    def fit(self, columns: int, rows: int) -> None:
        """Take the screen's size; with a new one nothing is known any more."""
        if (columns, rows) != (self._columns, len(self._cells)):
            self._columns = columns
            self._clear(rows)

    def forget(self) -> None:
        """Take nothing for known: the next frame is written in full."""
        self._clear(len(self._cells))

    def turn_to(self, frame: Frame) -> str:
        """What makes the terminal show `frame`, and take it as shown; empty when it does already.

        What lies out of the screen is left out: a terminal would put it at the edge.
        """
        brush, painted = Brush(), False
        for piece in frame.pieces:
            if piece.row < len(self._cells):
                painted |= self._paint(piece, brush) if _is_plain(piece.text) else self._paint_unsure(piece, brush)
        if not painted and frame.cursor == self._cursor:
            return ""
        self._cursor = frame.cursor
        return brush.leave(frame.cursor)

    def _clear(self, rows: int) -> None:
        self._cells = [[None] * self._columns for _ in range(rows)]
        self._cursor = None

    def _paint(self, piece: Piece, brush: Brush) -> bool:
        row, blank, painted = self._cells[piece.row], on_blanks(piece.pen), False
        for column, character in enumerate(piece.text[: len(row) - piece.column], piece.column):
            cell = (character, blank if character == " " else piece.pen)
            if row[column] != cell:
                row[column] = cell
                brush.draw(piece.row, column, row)
                painted = True
        return painted

    def _paint_unsure(self, piece: Piece, brush: Brush) -> bool:
        self._cells[piece.row][:] = [None] * self._columns
        brush.draw_text(*piece)
        return True


@lru_cache(4096)
def _is_plain(text: str) -> bool:
    """Whether each character takes one cell."""
    return text.isascii() or all(cell_len(character) == 1 for character in set(text))
