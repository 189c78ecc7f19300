"""Which characters and colours a terminal gets."""

from __future__ import annotations

import pytest

from citadel_tui.theme import look_for
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environment", "encoding", "glyphs", "theme"),
    [
        ({**XTERM, "COLORTERM": "truecolor"}, "utf-8", UNICODE, "citadel"),
        (XTERM, "utf-8", UNICODE, "citadel-ansi"),
        ({**XTERM, "COLORTERM": "truecolor", "NO_COLOR": "1"}, "utf-8", UNICODE, "citadel-ansi"),
        ({"TERM": "linux"}, "utf-8", ASCII, "citadel-ansi"),
        ({"TERM": "linux", "COLORTERM": "truecolor"}, "utf-8", ASCII, "citadel-ansi"),
        (XTERM, "iso8859-1", ASCII, "citadel-ansi"),
        ({**XTERM, "CITADEL_ASCII": "1"}, "UTF-8", ASCII, "citadel-ansi"),
        ({**XTERM, "CITADEL_ASCII": "0"}, "UTF8", UNICODE, "citadel-ansi"),
    ],
)
def test_the_look_follows_what_the_terminal_announces(
    environment: dict[str, str], encoding: str, glyphs: Glyphs, theme: str
) -> None:
    look = look_for(environment, encoding)
    assert (look.glyphs, look.theme) == (glyphs, theme)


def test_every_mark_of_the_ascii_set_is_ascii() -> None:
    marks = [getattr(ASCII, name) for name in ASCII.__struct_fields__ if name != "plain"]
    assert all(mark.isascii() for mark in marks)
