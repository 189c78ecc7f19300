"""Prepares models in a process of its own, since that needs torch, and passes on what it says."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final

import msgspec

from engine.api import EngineError
from engine.child_environment import child_environment
from engine.core.preparation import Order, PrepareNews

PREPARING_PROGRAM: Final = ("-P", "-m", "engine.worker.prepare_program")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""
_END_GRACE_S: Final = 10.0
"""How long it may take to clear away what it was writing."""


class PreparingBroke(EngineError):
    """The process ended before it was done; what it had finished stays."""


@contextmanager
def preparing(order: Order, program: Sequence[str] = PREPARING_PROGRAM) -> Iterator[Iterator[PrepareNews]]:
    """What is said while `order` is carried out. Leaving the block early ends the process, which then leaves nothing
    half-written behind. Iterating raises PreparingBroke when the process ends before it is done."""
    with tempfile.TemporaryFile() as complaints:
        process = _started(program, complaints)
        try:
            yield _news(process, order, complaints)
        finally:
            _end(process)


def _started(program: Sequence[str], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=child_environment(),
        start_new_session=True,  # a terminal's Ctrl+C comes to us, who pass it on once
    )


def _news(process: subprocess.Popen[bytes], order: Order, complaints: IO[bytes]) -> Iterator[PrepareNews]:
    assert process.stdin is not None
    assert process.stdout is not None
    decoder: msgspec.json.Decoder[PrepareNews] = msgspec.json.Decoder(PrepareNews)
    process.stdin.write(msgspec.json.encode(order))
    process.stdin.close()
    for line in process.stdout:
        yield decoder.decode(line)
    if status := process.wait():
        raise PreparingBroke(f"preparing broke off: {_last_words(complaints) or f'status {status}'}")


def _end(process: subprocess.Popen[bytes]) -> None:
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
