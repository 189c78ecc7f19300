"""What the console costs on the line: GPUs and eight models whose figures all move once a second, or none."""

from __future__ import annotations

from statistics import median

import pytest

from tests.patience import crowding
from tests.pty.painted import settle
from tests.pty.terminal import ANSWERS, console, terminal

SECONDS = 4.0


@pytest.mark.parametrize(("colours", "dearer"), [("", 1.0), ("truecolor", 1.5)], ids=["sixteen", "truecolor"])
@pytest.mark.parametrize(("mode", "gpus", "size", "bytes_per_s"), [
    ("quiet", 2, (80, 24), 100),
    ("changing", 2, (80, 24), 300),
    ("changing", 2, (160, 50), 450),
    ("changing", 8, (160, 50), 900),
])  # fmt: skip
def test_the_line_carries_no_more_than_what_changed(
    mode: str, gpus: int, size: tuple[int, int], bytes_per_s: int, colours: str, dearer: float
) -> None:
    """To change to one of sixteen colours takes five bytes; to one of all that there are, nineteen."""
    with terminal(*console(mode), str(gpus), size=size, COLORTERM=colours) as term:
        term.answers = ANSWERS
        term.until("phi-3-mini")
        term.until("Quit")
        term.bytes_in(1.5 * crowding())
        assert term.bytes_in(SECONDS) <= dearer * bytes_per_s * (SECONDS + 1)


def test_a_key_is_answered_at_once() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.until("Quit")
        settle(term)
        answers_s = [term.answer_s(key) for key in (b"j", b"k") * 8]
        assert median(answers_s) <= 0.05 * crowding()
