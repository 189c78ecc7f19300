"""What the console costs on the line: two GPUs and eight models whose figures all move once a second, or none."""

from __future__ import annotations

from statistics import median

import pytest

from tests.pty.terminal import ANSWERS, console, terminal

SECONDS = 4.0


@pytest.mark.parametrize("colours", ["", "truecolor"], ids=["sixteen", "truecolor"])
@pytest.mark.parametrize(("mode", "size", "bytes_per_s"), [
    ("quiet", (80, 24), 100),
    ("changing", (80, 24), 450),
    ("changing", (160, 50), 550),
])  # fmt: skip
def test_the_line_carries_no_more_than_what_changed(
    mode: str, size: tuple[int, int], bytes_per_s: int, colours: str
) -> None:
    with terminal(*console(mode), size=size, COLORTERM=colours) as term:
        term.answers = ANSWERS
        term.until("phi-3-mini")
        term.until("Quit")
        term.bytes_in(1.5)
        assert term.bytes_in(SECONDS) <= bytes_per_s * (SECONDS + 1)


def test_a_key_is_answered_at_once() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.until("Quit")
        term.bytes_in(1.0)
        answers_s = [term.answer_s(key) for key in (b"j", b"k") * 8]
        assert median(answers_s) <= 0.05
