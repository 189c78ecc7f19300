"""A Python process of our own that is told one thing on its standard input and says JSON lines until it ends: for work that needs
what the console must not load, or a network that the engine never asks. Both ends of the line are here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import IO, Any, Final, NoReturn, TypeVar

from engine.api import EngineError
from engine.child_environment import child_environment
from engine.core.serialization import Undecodable, from_json, to_json

_END_GRACE_S: Final = 10.0
"""How long it may take to clear away what it was writing."""

INTERRUPTED: Final = 130

_Order = TypeVar("_Order")


def begun(program: Sequence[str], complaints: IO[bytes], **environment: str) -> subprocess.Popen[bytes]:
    """The process; what it says on stderr goes to `complaints`."""
    return subprocess.Popen(
        [sys.executable, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=child_environment(os.environ, **environment),
        start_new_session=True,  # a terminal's Ctrl+C comes to us, who pass it on once
    )


def said(process: subprocess.Popen[bytes], order: object, news: Any) -> Iterator[Any]:  # noqa: ANN401 - of several kinds
    """Tell it the order; what it says, until it ends. Raises EngineError where that is no news."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended: its status tells why
        process.stdin.write(to_json(order))
        process.stdin.close()
    for line in process.stdout:
        try:
            yield from_json(line, news)
        except Undecodable as error:
            raise EngineError(
                f"process {process.pid} said what is no news of its work ({error}); it was ended"
            ) from error


def cause_of(status: int, complaints: IO[bytes]) -> str:
    """Why it ended before its work was done, in words."""
    if status == -signal.SIGKILL:
        return "it was killed, most likely for want of memory; end other programs, or choose a smaller model"
    if status < 0:
        return signal.Signals(-status).name
    return _last_words(complaints) or f"status {status}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, letting it clear away what it was writing."""
    process.send_signal(signal.SIGTERM)  # nothing happens when it has ended
    try:
        process.wait(_END_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def told(order: type[_Order]) -> tuple[_Order, Callable[[object], None]]:
    """In such a process: the order that it was told, and what says an item. SIGTERM and SIGINT end the process from here on, by
    an exit that lets blocks clear away."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    given = from_json(sys.stdin.buffer.read(), order)
    news = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no news

    def say(item: object) -> None:
        news.write(to_json(item) + b"\n")
        news.flush()

    return given, say


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a second one must not stop the clearing away
    raise SystemExit(INTERRUPTED)


def _last_words(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
