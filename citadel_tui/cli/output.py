"""What goes where: results to stdout, words to stderr, progress to stderr when somebody looks; and what a terminal can show."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final, TextIO

from citadel_tui.text import clean

_CAN_NOT_MOVE: Final = ("", "dumb", "unknown")
"""Values of TERM that promise no way to move the cursor."""


def tell(text: str) -> None:
    """A remark, beside the result."""
    print(f"citadel: {clean(text)}", file=sys.stderr)


def _somebody_can_answer() -> bool:
    """Whether there is a terminal to ask on."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> bool:
    """The operator's yes; anything else, and the end of the input, is no."""
    sys.stdout.flush()
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def agreed() -> bool:
    """Whether the person at the terminal says yes to what was shown."""
    if not _somebody_can_answer():
        tell("nothing was done; run it again with --yes to agree to this")
        return False
    if _ask("Do it?"):
        return True
    tell("nothing was done")
    return False


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows one line that changes in place, gone at the end; nothing where stderr is no terminal."""
    stream = sys.stderr
    if not stream.isatty():
        yield lambda _text: None
        return
    width = 0

    def show(text: str) -> None:
        nonlocal width
        line = clean(text)[:78]
        stream.write(f"\r{line.ljust(width)}")
        stream.flush()
        width = len(line)

    try:
        yield show
    finally:
        stream.write(f"\r{' ' * width}\r")
        stream.flush()


def can_draw(stream: TextIO) -> bool:
    """Whether its terminal has more characters than ASCII's."""
    return (stream.encoding or "").lower().replace("-", "") == "utf8" and os.environ.get("TERM") not in (
        "dumb",
        "linux",
    )


def why_no_console() -> str:
    """Why the console can't be shown, in words; empty when it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "the console needs a terminal"
    term = os.environ.get("TERM", "")
    if term in _CAN_NOT_MOVE:
        return f"a terminal with TERM={term} can't show the console" if term else "the console needs TERM to be set"
    return ""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Container[str] = ()) -> str:
    """Columns two spaces apart, each as wide as its widest cell; those whose headings are in `right` align to the right."""
    cells = [list(headings), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    to_right = [heading in right for heading in headings]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if aligned else cell.ljust(width)
            for cell, width, aligned in zip(row, widths, to_right, strict=True)
        ).rstrip()
        for row in cells
    )
