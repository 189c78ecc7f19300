"""Of each frame only what is new is written, and the terminal always shows what it would show of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from citadel_tui.terminal.frames import Frame, frame_of
from citadel_tui.terminal.shown import Shown
from tests.pty.screen import Screen

COLUMNS, ROWS = 16, 4
PENS = ("", "39;49", "1;39;49", "2", "7;34", "34;44", "38;2;1;2;3;48;2;4;5;6", "4")
NARROW = "aab  █·é"
ANY = (*NARROW, "漢", "e\u0301")


def piece(row: int, column: int, text: str, codes: str) -> str:
    """As Textual writes it, cut at the screen's edge."""
    while cell_len(text) > COLUMNS - column:
        text = text[:-1]
    return f"\x1b[{row + 1};{column + 1}H" + (f"\x1b[{codes}m{text}\x1b[0m" if codes else text)


def frames(characters: str | tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    texts = st.lists(st.sampled_from(characters), min_size=1, max_size=COLUMNS).map("".join)
    pieces = st.builds(piece, st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1), texts, st.sampled_from(PENS))
    return st.lists(st.lists(pieces, min_size=1, max_size=6).map(lambda parts: "".join((*parts, "\x1b[1;1H"))))


def framed(written: str) -> Frame:
    frame = frame_of(written)
    assert frame is not None
    return frame


def fitted() -> Shown:
    shown = Shown()
    shown.fit(COLUMNS, ROWS)
    return shown


@given(frames(ANY))
def test_the_terminal_shows_what_it_would_show_of_whole_frames(written: list[str]) -> None:
    whole, less, shown = Screen(COLUMNS, ROWS), Screen(COLUMNS, ROWS), fitted()
    for frame in written:
        whole.write(frame)
        less.write(shown.turn_to(framed(frame)))
        assert less.seen() == whole.seen()


@given(frames(NARROW))
def test_a_frame_never_costs_more_than_the_whole_of_it(written: list[str]) -> None:
    shown = fitted()
    for frame in written:
        assert len(shown.turn_to(framed(frame)).encode()) <= len(frame.encode())


def test_a_frame_that_is_shown_already_costs_nothing() -> None:
    frame, shown = framed("\x1b[1;1H\x1b[1mab\x1b[0m c\n\x1b[4;1Hd\x1b[1;1H"), fitted()
    assert shown.turn_to(frame)
    assert shown.turn_to(frame) == ""


def test_of_a_row_only_the_figures_that_changed_are_written() -> None:
    shown = fitted()
    shown.turn_to(framed("\x1b[3;1H\x1b[1;39;49m gpu0 \x1b[0m\x1b[2;39;49m51°C 22%\x1b[0m\x1b[1;1H"))
    again = "\x1b[3;1H\x1b[1;39;49m gpu0 \x1b[0m\x1b[2;39;49m52°C 59%\x1b[0m\x1b[1;1H"
    assert shown.turn_to(framed(again)) == "\x1b[3;8H\x1b[2m2°C 59\x1b[m\x1b[H"


def test_what_lies_between_is_written_again_where_that_is_no_longer_than_going_round_it() -> None:
    shown = fitted()
    shown.turn_to(framed("\x1b[1;1H1.5 7\x1b[1;1H"))
    assert shown.turn_to(framed("\x1b[1;1H2.5 8\x1b[1;1H")) == "\x1b[H2.5 8\x1b[H"


def test_a_cursor_that_moves_alone_is_written() -> None:
    shown = fitted()
    shown.turn_to(framed("\x1b[1;1Hab\x1b[1;2H"))
    assert shown.turn_to(framed("\x1b[1;1Hab\x1b[1;3H")) == "\x1b[1;3H"


def test_what_was_forgotten_is_written_in_full() -> None:
    frame, shown, screen = framed("\x1b[2;1Habc\x1b[1;1H"), fitted(), Screen(COLUMNS, ROWS)
    shown.turn_to(frame)
    shown.forget()
    screen.write(shown.turn_to(frame))
    assert "".join(character for character, _ in screen.seen()[1][:3]) == "abc"


def test_at_another_size_nothing_is_known_any_more() -> None:
    frame, shown = framed("\x1b[2;1Habc\x1b[1;1H"), fitted()
    first = shown.turn_to(frame)
    shown.fit(COLUMNS, ROWS)
    assert shown.turn_to(frame) == ""
    shown.fit(COLUMNS + 1, ROWS)
    assert shown.turn_to(frame) == first


@pytest.mark.parametrize("beyond", [1, 4])
def test_what_lies_out_of_the_screen_is_not_written(beyond: int) -> None:
    text = "x" * 2 * COLUMNS
    assert "x" not in fitted().turn_to(framed(f"\x1b[{ROWS + 1};1Hx\x1b[1;{COLUMNS + beyond}H{text}\x1b[1;1H"))


def test_a_row_with_a_wide_character_is_written_as_it_came() -> None:
    written = f"\x1b[1;1H漢 b{' ' * 4}\x1b[1;1H"
    shown = fitted()
    first = shown.turn_to(framed(written))
    assert shown.turn_to(framed(written)) == first
