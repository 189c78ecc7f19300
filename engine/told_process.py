"""A Python process of our own that is told one thing on its standard input and says JSON lines until it ends: for work that needs
what the console must not load, or a network that the engine never asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Final, TypeVar

import msgspec

from engine.child_environment import child_environment

_END_GRACE_S: Final = 10.0
"""How long it may take to clear away what it was writing."""

_News = TypeVar("_News")


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


def said(process: subprocess.Popen[bytes], order: object, news: msgspec.json.Decoder[_News]) -> Iterator[_News]:
    """Tell it the order; what it says, until it ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended: its status tells why
        process.stdin.write(msgspec.json.encode(order))
        process.stdin.close()
    for line in process.stdout:
        yield news.decode(line)


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


def _last_words(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
