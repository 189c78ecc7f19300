"""Running a model, whatever its task, in the memory that is left: what is tried when a run finds too little, what a run is found
to take, and which errors leave a process that can run nothing more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeAlias, TypeVar

import torch
from msgspec import Struct

from engine.core.tasks import TaskPart, TaskResult
from engine.worker.errors import OutOfMemory, StaleLock

_T = TypeVar("_T")
R = TypeVar("R")

SHORTAGES: Final = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)
"""How a lack of memory is worded where torch does not raise OutOfMemoryError: by the driver, by cuBLAS, on the CPU."""

_BROKEN_REPORT: Final = re.compile(r'INTERNAL ASSERT FAILED at "[^"]*CUDACachingAllocator\.cpp"')
"""Torch asks NVML who holds what once an allocation has failed, for its message. Where NVML can't tell, it raises this."""

LASTING_ERRORS: Final = (
    "an illegal memory access was encountered",
    "the launch timed out and was terminated",
    "context is destroyed",
    "device-side assert triggered",
    "hardware stack error",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "Invalid access of peer GPU memory over nvlink or a hardware error",
    "unknown error",
)
"""The errors of the CUDA runtime after which, by its documentation, every later call of the process returns the same error.
By their words, since only newer versions of torch give the number too. All others, such as an invalid argument or a status of
cuBLAS, are about one call."""


Say: TypeAlias = Callable[[TaskPart], None]
"""Passes a part on to whoever asked, at once and from the thread that runs the model."""


class RunOutcome(Struct, frozen=True):
    """How a run ended."""

    result: TaskResult
    filled: float
    """Tokens that ran at once, padding included, as a share of the most that the model's limits allow; 0 to 1."""
    device_s: float = 0.0
    """Seconds of the device that it took: of a batch that it shared, by its share of the tokens."""
    workspace_bytes: int | None = None
    """What its largest batch took beside the weights; None where nobody could tell."""
    used_bytes: int | None = None
    """What the process holds of the device afterwards; None where runs take nothing of it."""

    def with_figures(self, device_s: float, took: Measurement) -> RunOutcome:
        """The outcome, with what was found out about the run."""
        return RunOutcome(self.result, self.filled, device_s, took.workspace_bytes, took.used_bytes)


class Measurement:
    """What a run took beside the weights, once it has ended."""

    def __init__(self) -> None:
        self.workspace_bytes: int | None = None
        """None where the device can't tell, or where something else used its memory meanwhile."""
        self.used_bytes: int | None = None
        """What the process holds of the device afterwards; None where runs take nothing of it."""


class RunMemory(Protocol):
    """A device's memory as a run uses it."""

    def collect(self) -> None:
        """Give back all that is kept but unused."""
        ...

    def shortage(self, rows: int) -> OutOfMemory:
        """The words, with figures, for a run of `rows` rows that found too little."""
        ...

    def measure(self) -> AbstractContextManager[Measurement]:
        """Find out what the run inside takes."""
        ...


class HostRuns:
    """Runs in host RAM, where nothing is kept and nobody counts."""

    def collect(self) -> None:
        return

    def shortage(self, rows: int) -> OutOfMemory:
        return OutOfMemory(
            f"the host has no memory left for a run of {rows} at once; the model stays loaded. Use shorter texts, or"
            " give the RAM tier less"
        )

    def measure(self) -> AbstractContextManager[Measurement]:
        return nullcontext(Measurement())


HOST_RUNS: Final = HostRuns()


def once_more(run: Callable[[], R], memory: RunMemory) -> R | None:
    """The run's result. When memory lacks, all unused is given back and it runs again; None when that did not help."""
    for _ in range(2):
        try:
            return run()
        except RuntimeError as error:
            if not is_shortage(error):
                raise
        memory.collect()  # out here the error is gone, and with its frames the tensors of the run that failed
    return None


def in_parts(rows: list[_T], run: Callable[[list[_T]], R], memory: RunMemory) -> Iterator[tuple[list[_T], R]]:
    """The rows with their results, in as few parts as memory allows, in order. Raises OutOfMemory when one row alone is
    too much: the first that has no result."""
    waiting = [rows]
    while waiting:
        part = waiting.pop()
        result = once_more(lambda part=part: run(part), memory)  # type: ignore[misc]
        if result is not None:
            yield part, result
        elif len(part) == 1:
            raise memory.shortage(1)
        else:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]


def is_shortage(error: RuntimeError) -> bool:
    """Whether memory was what lacked."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return any(words in text for words in SHORTAGES) or _BROKEN_REPORT.search(text) is not None


def breaks_the_context(error: Exception) -> bool:
    """Whether nothing that this process does on its card can be trusted any more. Such a context ends with the
    process only."""
    if isinstance(error, StaleLock):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and "CUDA error" in text and any(words in text for words in LASTING_ERRORS)
