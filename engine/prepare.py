"""Prepares models in a process of its own, since that needs torch, and passes on what it says."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Final

import msgspec
from msgspec.structs import replace

from engine.api import EngineError
from engine.child_environment import child_environment
from engine.core.preparation import NotPrepared, Order, PrepareNews, PrepareOutcome
from engine.libraries import check_libraries

PREPARING_PROGRAM: Final = ("-P", "-m", "engine.worker.prepare_program")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""
_END_GRACE_S: Final = 10.0
"""How long it may take to clear away what it was writing."""


class PreparingBroke(EngineError):
    """The process ended without a word of its models; what it had finished stays."""


@contextmanager
def preparing(order: Order, program: Sequence[str] = PREPARING_PROGRAM) -> Iterator[Iterator[PrepareNews]]:
    """What is said while `order` is carried out. Leaving the block early ends the process, which then leaves nothing
    half-written behind. Raises LibraryMissing; iterating, PreparingBroke when the process ends without a word of its models."""
    check_libraries()
    preparer = _Preparer(program)
    try:
        yield preparer.news(order)
    finally:
        preparer.end()


class _Preparer:
    """Runs the program, and again for the rest of the order where one model has ended it: a library may take its process
    along."""

    def __init__(self, program: Sequence[str]) -> None:
        self._program: Final = program
        self._process: subprocess.Popen[bytes] | None = None

    def news(self, order: Order) -> Iterator[PrepareNews]:
        """Raises PreparingBroke when the process ends without a word of any model."""
        left = order.models
        while left:
            with tempfile.TemporaryFile() as complaints:
                process = self._process = _started(self._program, complaints)
                heard = False
                for item in _said(process, replace(order, models=left)):
                    heard = True
                    yield item
                    if isinstance(item, PrepareOutcome):
                        left = left[1:]
                status = process.wait()
                _end(process)
                cause = _cause(status, complaints)
            if (status and not left) or not heard:
                raise PreparingBroke(f"preparing broke off: {cause}")
            if left:
                yield NotPrepared(left[0].name, f"the process that prepared it has ended: {cause}")
                left = left[1:]

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            _end(self._process)


def _started(program: Sequence[str], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env=child_environment(),
        start_new_session=True,  # a terminal's Ctrl+C comes to us, who pass it on once
    )


def _said(process: subprocess.Popen[bytes], order: Order) -> Iterator[PrepareNews]:
    assert process.stdin is not None
    assert process.stdout is not None
    decoder: msgspec.json.Decoder[PrepareNews] = msgspec.json.Decoder(PrepareNews)
    with suppress(BrokenPipeError):  # it has ended: its status tells why
        process.stdin.write(msgspec.json.encode(order))
        process.stdin.close()
    for line in process.stdout:
        yield decoder.decode(line)


def _cause(status: int, complaints: IO[bytes]) -> str:
    if status == -signal.SIGKILL:
        return "it was killed, most likely for want of memory; end other programs, or choose a smaller model"
    if status < 0:
        return signal.Signals(-status).name
    return _last_words(complaints) or f"status {status}"


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
