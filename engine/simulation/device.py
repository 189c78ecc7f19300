"""A simulated device: copies to it share its link, and models that run on it at once share its speed."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from engine.core.names import ModelName
from engine.simulation.sharing import SharedRate


class Run(Struct, frozen=True):
    """A request that has its lease."""

    lease: int
    work_s: float
    """On a GPU of its own."""


class SimulatedDevice:
    """What its worker is doing. Each model runs one request at a time."""

    def __init__(self, copy_bytes_per_s: float, speed: float) -> None:
        self.copies: SharedRate[ModelName] = SharedRate(copy_bytes_per_s)
        self.returns: SharedRate[ModelName] = SharedRate(copy_bytes_per_s)
        """Copies back, which take nothing from the copies the other way."""
        self.bound_bytes: dict[ModelName, int] = {}
        self._running: SharedRate[ModelName] = SharedRate(speed)
        self._queues: dict[ModelName, deque[Run]] = {}

    @property
    def used_bytes(self) -> int:
        return sum(self.bound_bytes.values())

    @property
    def run_ends_s(self) -> float:
        """When the next run ends; infinity when nothing runs."""
        return self._running.next_s

    @property
    def next_s(self) -> float:
        """When a copy or a run ends next; infinity when nothing is under way."""
        return min(self.run_ends_s, self.copies.next_s, self.returns.next_s)

    def run(self, model: ModelName, run: Run, now_s: float) -> None:
        """Run the request, after those that the model has already."""
        queue = self._queues.setdefault(model, deque())
        queue.append(run)
        if len(queue) == 1:
            self._running.start(model, run.work_s, now_s)

    def take_ended(self) -> Run:
        """The run that ends at `run_ends_s`."""
        now_s = self._running.next_s
        model = self._running.take()
        queue = self._queues[model]
        ended = queue.popleft()
        if queue:
            self._running.start(model, queue[0].work_s, now_s)
        return ended
