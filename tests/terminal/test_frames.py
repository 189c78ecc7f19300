"""What Textual writes is read as what it paints, and anything else is not taken for it."""

from __future__ import annotations

import pytest

from citadel_tui.terminal.frames import Frame, Piece, frame_of
from citadel_tui.terminal.pens import PLAIN, pen_of


def test_text_stands_where_the_last_place_and_the_text_before_it_put_it() -> None:
    assert frame_of("\x1b[2;3H\x1b[1;34mab\x1b[0mc\n\x1b[5;1H漢d\x1b[1;1H") == Frame(
        (
            Piece(1, 2, "ab", pen_of("1;34")),
            Piece(1, 4, "c", PLAIN),
            Piece(4, 0, "漢d", PLAIN),
        ),
        (0, 0),
    )


def test_codes_add_up_until_a_reset() -> None:
    frame = frame_of("\x1b[1;1H\x1b[1m\x1b[34ma\x1b[mb")
    assert frame is not None
    assert [piece.pen for piece in frame.pieces] == [pen_of("1;34"), PLAIN]


@pytest.mark.parametrize(
    "written",
    [
        "",
        "\x1b[?1049h",
        "\x1b]52;c;YQ==\x07",
        "no place",
        "\x1b[1;1Ha\nno place after the line's end",
        "\x1b[1;1Ha\x1b[2J",
        "\x1b[1;1Ha\x1b[?25h\x1b[2;1Hb",
        "\x1b[1;1Ha\tb",
        "\x1b[1;1Ha\x1b",
    ],
)
def test_what_does_more_than_paint_is_no_frame(written: str) -> None:
    assert frame_of(written) is None
