"""Nothing from outside reaches the terminal as more than visible text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citadel_tui.text import clean, clean_lines


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[2J\x1b]0;title\x07", "�[2J�]0;title�"),
        ("\x9b31m", "�31m"),
        ("del\x7f", "del�"),
        ("\x85next line", "�next line"),
        ("abc\u202egpj.exe", "abc�gpj.exe"),
        ("\u2066isolate\u2069", "�isolate�"),
        ("zero\u200bwidth\ufeff", "zero�width�"),
        ("half \ud83d pair", "half � pair"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("a\u2028b", "a b"),
    ],
)
def test_what_a_terminal_would_act_on_becomes_visible(hostile: str, harmless: str) -> None:
    assert clean(hostile) == harmless


@pytest.mark.parametrize("text", ["bge-base", "größer als 模型 🐈", "[/]not markup[@click=x]", ""])
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_lines_stay_lines() -> None:
    assert clean_lines("first\n\x1bsecond") == "first\n�second"


@given(st.text(st.characters(codec=None)))
def test_no_control_or_format_character_ever_passes(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert not {unicodedata.category(character) for character in cleaned} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert clean(cleaned) == cleaned
