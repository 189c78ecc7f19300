"""A model whose batches run when the test says so, and a device whose memory is scripted."""

from __future__ import annotations

import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from typing import Final

import torch

from engine.core.models import Limits
from engine.core.tasks import Embed, Vectors
from engine.worker.errors import BadRequest
from engine.worker.lanes import Turn
from engine.worker.row_lane import ReadRows, RowLane
from engine.worker.running import HostRuns, Measurement

UNREADABLE: Final = "unreadable"
NO_ANSWER: Final = "nothing"


class ScriptedMemory(HostRuns):
    """Says that runs took what `takes_bytes` has, one after the other; None where it has no more."""

    def __init__(self, *takes_bytes: int | None) -> None:
        self._takes_bytes: Final = list(takes_bytes)
        self.collected = 0

    def collect(self) -> None:
        self.collected += 1

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        took = Measurement()
        yield took
        took.workspace_bytes = self._takes_bytes.pop(0) if self._takes_bytes else None
        took.used_bytes = 100 + len(self._takes_bytes)


class ByHand:
    """Reads a text as a row of as many tokens as it has characters, and makes the sum of their numbers of it."""

    suits_company: Final = True

    def __init__(self, limits: Limits, memory: HostRuns | None = None, room: int = 1000) -> None:
        """There is memory for batches of `room` tokens, padding included."""
        self.width = 1
        self.limits: Final = limits
        self.memory: Final = memory or HostRuns()
        self.is_reading: Final[Queue[Embed]] = Queue()
        self.may_read: Final[Queue[None]] = Queue()
        self.holds_reading = False
        self._room: Final = room
        self._begun: Final[Queue[list[str]]] = Queue()
        self._orders: Final[Queue[Exception | None]] = Queue()

    def lane(self, name: str, turn: Turn) -> RowLane:
        return RowLane(self, self.read, turn, name)

    def read(self, task: Embed) -> ReadRows[str]:
        self.is_reading.put(task)
        if self.holds_reading:
            self.may_read.get()
        if UNREADABLE in task.texts:
            raise BadRequest("it can't be read")

        def result(figures: torch.Tensor) -> Vectors:
            if NO_ANSWER in task.texts:
                raise ValueError("it is no answer")
            return Vectors(1, figures.numpy().tobytes())

        return ReadRows(task.texts, list(map(len, task.texts)), result)

    def forward(self, rows: Sequence[str]) -> torch.Tensor:
        if len(rows) * max(map(len, rows)) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self._begun.put(list(rows))
        if error := self._orders.get():
            raise error
        return torch.tensor([[summed(row)] for row in rows])

    def begun(self) -> list[str]:
        """The rows of the batch that runs next, or runs already, once it does."""
        return self._begun.get()

    def is_idle(self) -> bool:
        """Whether no batch has begun that `begun` has not told yet."""
        return self._begun.empty()

    def end(self, error: Exception | None = None) -> None:
        """Have the batch under way, or the next, end."""
        self._orders.put(error)

    def run(self) -> list[str]:
        """Have the next batch run to its end."""
        rows = self.begun()
        self.end()
        return rows

    def run_freely(self, batches: int) -> None:
        """Hold up none of the next batches."""
        for _ in range(batches):
            self.end()


def summed(text: str) -> float:
    return float(sum(map(ord, text)))


def sums(vectors: object) -> list[float]:
    """Those of a result."""
    assert isinstance(vectors, Vectors)
    return array.array("f", vectors.figures).tolist()
