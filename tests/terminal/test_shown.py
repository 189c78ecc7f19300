"""Of each frame only what is new is written, and the terminal always shows what it would show of the whole."""

from __future__ import annotations

import re
from typing import NamedTuple

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
PLACES = re.compile(r"\x1b\[(\d*);?(\d*)H")


class Size(NamedTuple):
    columns: int
    rows: int


class Text(NamedTuple):
    """What is written at a place, and the codes that it is drawn with."""

    row: int
    column: int
    text: str
    codes: str

    @property
    def written(self) -> str:
        """As Textual writes it."""
        text = f"\x1b[{self.codes}m{self.text}\x1b[0m" if self.codes else self.text
        return f"\x1b[{self.row + 1};{self.column + 1}H{text}"

    def within(self, size: Size) -> str:
        """What a screen of that size has of it, written: nothing beyond the edge, and a blank for half of a wide character."""
        room = size.columns - self.column
        if self.row >= size.rows or room < 1:
            return ""
        text = self.text
        while cell_len(text) > room:
            text = text[:-1]
        missing = room - cell_len(text) if text != self.text else 0
        return self._replace(text=text + " " * missing).written


SIZE = Size(COLUMNS, ROWS)
HOME = "\x1b[1;1H"


def texts(characters: str | tuple[str, ...], size: Size) -> st.SearchStrategy[list[list[Text]]]:
    """Frames of texts that begin anywhere on a screen of that size."""
    words = st.lists(st.sampled_from(characters), min_size=1, max_size=COLUMNS).map("".join)
    places = st.integers(0, size.rows - 1), st.integers(0, size.columns - 1)
    return st.lists(st.lists(st.builds(Text, *places, words, st.sampled_from(PENS)), min_size=1, max_size=6))


def frames(characters: str | tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """As Textual writes them, cut at the screen's edge."""
    return texts(characters, SIZE).map(lambda found: ["".join(t.within(SIZE) for t in each) + HOME for each in found])


def framed(written: str) -> Frame:
    frame = frame_of(written)
    assert frame is not None
    return frame


def fitted() -> Shown:
    shown = Shown()
    shown.fit(COLUMNS, ROWS)
    return shown


ANYWHERE = texts(ANY, Size(2 * COLUMNS, 2 * ROWS))


@given(ANYWHERE)
def test_the_terminal_shows_what_it_would_show_of_whole_frames(written: list[list[Text]]) -> None:
    whole, less, shown = Screen(COLUMNS, ROWS), Screen(COLUMNS, ROWS), fitted()
    for frame in written:
        whole.write("".join(text.within(SIZE) for text in frame))
        less.write(shown.turn_to(framed("".join(text.written for text in frame) + HOME)))
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


@given(ANYWHERE, st.lists(st.builds(Size, st.integers(0, 24), st.integers(0, 6)), min_size=1))
def test_any_frame_is_painted_on_a_screen_of_any_size_as_far_as_it_lies_there(
    written: list[list[Text]], sizes: list[Size]
) -> None:
    """Nothing else is written, and no cell and no cursor beyond the edge; sizes come and go between frames."""
    shown = Shown()
    for number, frame in enumerate(written):
        size = sizes[number % len(sizes)]
        shown.fit(*size)
        shown.forget()
        whole, less = Screen(*size), Screen(*size)
        whole.write("".join(text.within(size) for text in frame))
        new = shown.turn_to(framed("".join(text.written for text in frame) + f"\x1b[{ROWS};{COLUMNS}H"))
        less.write(new)
        assert less.seen() == whole.seen()
        assert all(
            int(row or 1) <= size.rows and int(column or 1) <= size.columns for row, column in PLACES.findall(new)
        )


def test_a_screen_of_no_size_is_written_nothing() -> None:
    shown = Shown()
    assert shown.turn_to(framed("\x1b[1;1Ha漢\x1b[1;1H")) == ""
    shown.fit(0, 5)
    assert shown.turn_to(framed("\x1b[1;1Ha漢\x1b[1;1H")) == ""


def test_a_wide_character_that_the_edge_cuts_is_a_blank() -> None:
    assert "漢" not in fitted().turn_to(framed(f"\x1b[1;{COLUMNS}H漢字\x1b[1;1H"))


def test_a_mark_stays_with_the_last_character_before_the_edge() -> None:
    assert "e\u0301" in fitted().turn_to(framed(f"\x1b[1;{COLUMNS}He\u0301f\x1b[1;1H"))


def test_a_row_with_a_wide_character_is_written_as_it_came() -> None:
    written = f"\x1b[1;1H漢 b{' ' * 4}\x1b[1;1H"
    shown = fitted()
    first = shown.turn_to(framed(written))
    assert shown.turn_to(framed(written)) == first
