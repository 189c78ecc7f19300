"""Prepares models in a process of its own, since that needs torch, and passes on what it says."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from msgspec.structs import replace

from engine.api import EngineError
from engine.core.preparation import NotPrepared, Order, PrepareNews, PrepareOutcome
from engine.libraries import check_libraries
from engine.told_process import begun, cause_of, end, said

PREPARING_PROGRAM: Final = ("-P", "-m", "engine.worker.prepare_program")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""


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
                process = self._process = begun(self._program, complaints)
                heard = False
                for item in said(process, replace(order, models=left), PrepareNews):
                    heard = True
                    yield item
                    if isinstance(item, PrepareOutcome):
                        left = left[1:]
                status = process.wait()
                end(process)
                cause = cause_of(status, complaints)
            if (status and not left) or not heard:
                raise PreparingBroke(f"preparing broke off: {cause}")
            if left:
                yield NotPrepared(left[0].name, f"the process that prepared it has ended: {cause}")
                left = left[1:]

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            end(self._process)
