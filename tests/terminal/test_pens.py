"""Changes of pen: as short as they can be, and never another pen than was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citadel_tui.terminal.pens import PLAIN, change, on_blanks, pen_of
from tests.pty.screen import drawn_with

COLOURS = ("", "34", "97", "39", "44", "104", "49", "38;5;17", "48;5;4", "38;2;1;31;44", "48;2;0;38;5")
CODES = st.tuples(st.sets(st.sampled_from("123479")), st.lists(st.sampled_from(COLOURS), max_size=3)).map(
    lambda chosen: ";".join((*sorted(chosen[0]), *filter(None, chosen[1])))
)


@given(CODES, CODES)
def test_a_change_makes_one_pen_of_another_and_is_no_longer_than_beginning_anew(before: str, after: str) -> None:
    written = change(pen_of(before), pen_of(after))
    drawn = drawn_with(before, {})
    if written:
        drawn = drawn_with(written.removeprefix("\x1b[").removesuffix("m"), drawn)
    assert drawn == drawn_with(after, {})
    assert len(written) <= len(f"\x1b[0;{after}m")


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        ("1;39;49", "1", ""),
        ("2", "", "\x1b[m"),
        ("", "1;34", "\x1b[1;34m"),
        ("1;34", "1;32", "\x1b[32m"),
        ("1;34", "1", "\x1b[39m"),
        ("1", "2", "\x1b[0;2m"),
        ("38;2;1;2;3;48;2;4;5;6", "38;2;7;8;9;48;2;4;5;6", "\x1b[38;2;7;8;9m"),
    ],
)
def test_only_what_differs_is_said(before: str, after: str, written: str) -> None:
    assert change(pen_of(before), pen_of(after)) == written


def test_what_came_before_a_reset_no_longer_counts() -> None:
    assert pen_of("1;34;0") == PLAIN


def test_of_a_blank_only_the_ground_is_seen_unless_an_attribute_shows_too() -> None:
    assert on_blanks(pen_of("1;2;34;44")) == pen_of("44")
    assert on_blanks(pen_of("7;34")) == pen_of("7;34")
