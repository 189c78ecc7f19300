"""What a console has painted on its terminal, once nothing but a clock goes on there."""

from __future__ import annotations

from typing import Final

from tests.patience import crowding
from tests.pty.screen import Cells, Screen
from tests.pty.terminal import Terminal

REPAINT: Final = b"\x0c"
"""ctrl+l"""


def painted(written: bytes, size: tuple[int, int]) -> Cells:
    """The cells of a screen of that size after all of this was written."""
    screen = Screen(*size)
    screen.write(written.decode(errors="replace"))
    return screen.seen()


def text_of(rows: Cells) -> str:
    return "\n".join("".join(character for character, _ in row) for row in rows)


def settle(term: Terminal) -> bytes:
    """All that is written until only the clock goes on."""
    while term.bytes_in(0.2 * crowding()) > 60:
        pass
    return term.written


def whole_screen(term: Terminal, size: tuple[int, int]) -> bytes:
    """What is written from now on, once it is a whole screen: no cell takes less than a byte."""
    before = len(term.written)
    while len(term.written) - before < size[0] * size[1]:
        term.bytes_in(0.05)
    return settle(term)[before:]
