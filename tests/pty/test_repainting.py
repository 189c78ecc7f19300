"""The console writes only what the terminal doesn't show yet: after whatever happened, that is the whole screen."""

from __future__ import annotations

import pytest

from tests.pty.screen import Screen
from tests.pty.terminal import Terminal, console, terminal

REPAINT = b"\x0c"
"""ctrl+l"""
STEPS = (b"jjj", b"\r", b"\x1b", b" ", b"s", b"g", b"?", b"v", b"\x1b", b"b")
"""Keys that move, open and close, mark, sort, show graphs, and change colours; a dialog is open in the end."""


def shown(written: bytes, size: tuple[int, int]) -> list[object]:
    """The rows but for the first, whose clock goes on."""
    screen = Screen(*size)
    screen.write(written.decode(errors="replace"))
    return list(screen.seen()[1:])


def settle(term: Terminal) -> bytes:
    """All that is written until only the clock goes on."""
    while term.bytes_in(0.2) > 60:
        pass
    return term.written


def assert_a_repaint_changes_nothing(term: Terminal, size: tuple[int, int]) -> None:
    before = settle(term)
    term.send(REPAINT)
    after = settle(term)
    assert shown(after[len(before) :], size) == shown(before, size)


@pytest.mark.parametrize("colours", ["", "truecolor"], ids=["sixteen", "truecolor"])
def test_what_was_written_piece_by_piece_is_what_is_shown(colours: str) -> None:
    with terminal(*console("quiet"), COLORTERM=colours) as term:
        term.until("phi-3-mini")
        for keys in STEPS:
            term.send(keys)
            settle(term)
        assert_a_repaint_changes_nothing(term, (80, 24))


def test_after_a_resize_all_of_the_screen_is_written_for_its_new_size() -> None:
    with terminal(*console("quiet"), size=(120, 36)) as term:
        term.until("phi-3-mini")
        settle(term)
        before = len(term.written)
        term.resize(80, 24)
        written = settle(term)[before:]
        term.send(REPAINT)
        assert shown(written, (80, 24)) == shown(settle(term)[before + len(written) :], (80, 24))
