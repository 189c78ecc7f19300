"""What goes where: results to stdout, words to stderr, progress to stderr when somebody looks; what a terminal can show; and that
a result which can't be written is never taken for one that was."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from citadel_tui.text import clean

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_CAN_NOT_MOVE: Final = ("", "dumb", "unknown")
"""Values of TERM that promise no way to move the cursor."""


class OutputFailed(Exception):
    """The results can't be written, and not since a reader has gone. It is none of the errors after which commands go on."""


class _Results(io.FileIO):
    """What stands behind stdout: says in words why nothing more can be written."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            why = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise OutputFailed(f"the output can't be written: {why}; what was to be told is not complete") from None


class _Remarks(io.FileIO):
    """What stands behind stderr: a remark that can't be written is lost, and changes nothing."""

    def write(self, data: Buffer, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


def speak_up() -> None:
    """Have stdout and stderr say what becomes of what is written there. Where whoever started us closed them, Python prints to
    nowhere, and the next file or socket would get their numbers."""
    # A stream of a test's own is left alone.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, sys.stdout, _Results)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr, _Remarks)


def _stream(descriptor: int, before: TextIO | None, raw: type[io.FileIO]) -> TextIO:
    if before is None:
        closed = os.open(os.devnull, os.O_RDONLY)  # to write there fails, as it would have
        if closed != descriptor:
            os.dup2(closed, descriptor, inheritable=True)
            os.close(closed)
    file = io.BufferedWriter(raw(descriptor, "w", closefd=False))
    is_prompt = isinstance(before, io.TextIOWrapper) and (before.line_buffering or before.write_through)
    return io.TextIOWrapper(file, "utf-8" if before is None else before.encoding, "replace", line_buffering=is_prompt)


def forget_output() -> None:
    """Leave what is still to be written to stdout: Python would complain of it at exit, when it tries again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


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
