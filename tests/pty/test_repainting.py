"""The console writes only what the terminal doesn't show yet: after whatever happened, that is the whole screen."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.pty.painted import REPAINT, painted, settle, text_of, whole_screen
from tests.pty.screen import Cells
from tests.pty.terminal import console, terminal

STEPS = (
    (b"jjj", "▸▐phi-3-mini"),
    (b"\r", "footprint"),
    (b"\x1b", "── MODELS"),
    (b" ", "1 marked"),
    (b"s", "by name"),
    (b"g", "OVER TIME"),
    (b"?", "Evict      take the model off"),
    (b"v", "Close"),
    (b"\x1b", "── MODELS"),
    (b"b", "space ticks, a all"),
)
"""Keys that move, open and close, mark, sort, show graphs, and change colours, and what stands there then; a dialog is open in
the end. A key that comes before an escape has been taken would be taken for a part of it."""


def shown(written: bytes, size: tuple[int, int]) -> Cells:
    """The rows but for the first, whose clock goes on."""
    return painted(written, size)[1:]


@pytest.mark.parametrize("colours", ["", "truecolor"], ids=["sixteen", "truecolor"])
def test_what_was_written_piece_by_piece_is_what_is_shown(colours: str) -> None:
    size = 80, 24
    with terminal(*console("quiet"), COLORTERM=colours) as term:
        term.until("phi-3-mini")
        for keys, words in STEPS:
            term.send(keys)
            while words not in text_of(shown(term.written, size)):
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


def test_a_frame_that_breaks_costs_that_frame(citadel_home: Path) -> None:
    with terminal(*console("stumbling")) as term:
        term.until("phi-3-mini")
        for keys, _ in STEPS:
            term.send(keys)
            settle(term)
        term.send(b"\x03")
        assert term.wait() == 0
    log = citadel_home / "state" / "console.log"
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert " not painted: LookupError: a fault in painting (console.py:" in line
    log.unlink()


def test_a_size_that_changes_while_it_is_suspended_is_taken_up_when_it_goes_on() -> None:
    size = 70, 30
    with terminal(*console("quiet"), size=(120, 36)) as term:
        term.until("phi-3-mini")
        settle(term)
        term.send(b"\x1a")
        term.until_stopped()
        term.resize(*size)
        before = len(term.written)
        term.kill(signal.SIGCONT)
        settled = whole_screen(term, size)
        assert shown(term.written[before:], size) == shown(settled, size)
        term.send(REPAINT)
        assert shown(settled, size) == shown(whole_screen(term, size), size)
