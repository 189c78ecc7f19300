"""The console writes only what the terminal doesn't show yet: after whatever happened, that is the whole screen."""

from __future__ import annotations

import pytest

from tests.pty.screen import Drawn, Screen
from tests.pty.terminal import Terminal, console, terminal

REPAINT = b"\x0c"
"""ctrl+l"""
STEPS = (b"jjj", b"\r", b"\x1b", b" ", b"s", b"g", b"?", b"v", b"\x1b", b"b")
"""Keys that move, open and close, mark, sort, show graphs, and change colours; a dialog is open in the end."""


DIALOG = "space ticks, a all"
"""What that dialog says; it is imported when it is first opened, which may take its time."""


def shown(written: bytes, size: tuple[int, int]) -> list[list[tuple[str, Drawn]]]:
    """The rows but for the first, whose clock goes on."""
    screen = Screen(*size)
    screen.write(written.decode(errors="replace"))
    return screen.seen()[1:]


def text_of(rows: list[list[tuple[str, Drawn]]]) -> str:
    return "\n".join("".join(character for character, _ in row) for row in rows)


def settle(term: Terminal) -> bytes:
    """All that is written until only the clock goes on."""
    while term.bytes_in(0.2) > 60:
        pass
    return term.written


def whole_screen(term: Terminal, size: tuple[int, int]) -> bytes:
    """What is written from now on, once it is a whole screen: no cell takes less than a byte."""
    before = len(term.written)
    while len(term.written) - before < size[0] * size[1]:
        term.bytes_in(0.05)
    return settle(term)[before:]


@pytest.mark.parametrize("colours", ["", "truecolor"], ids=["sixteen", "truecolor"])
def test_what_was_written_piece_by_piece_is_what_is_shown(colours: str) -> None:
    size = 80, 24
    with terminal(*console("quiet"), COLORTERM=colours) as term:
        term.until("phi-3-mini")
        for keys in STEPS:
            term.send(keys)
            settle(term)
        while DIALOG not in text_of(shown(term.written, size)):
            term.bytes_in(0.05)
        before = settle(term)
        term.send(REPAINT)
        assert shown(whole_screen(term, size), size) == shown(before, size)


def test_after_a_resize_all_of_the_screen_is_written_for_its_new_size() -> None:
    size = 80, 24
    with terminal(*console("quiet"), size=(120, 36)) as term:
        term.until("phi-3-mini")
        settle(term)
        term.resize(*size)
        written = whole_screen(term, size)
        term.send(REPAINT)
        assert shown(written, size) == shown(whole_screen(term, size), size)
