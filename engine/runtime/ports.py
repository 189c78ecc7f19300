"""What the runtime needs of the world, so that tests can script it: workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.core.tasks import TaskPart
from engine.worker.protocol import Reply, Request, WorkerConfig, WorkerNews


class WorkerHandle(Protocol):
    """A live worker process."""

    @property
    def pid(self) -> int: ...

    async def request(
        self, request: Request, on_advance: Callable[[float], None] = ..., on_part: Callable[[TaskPart], None] = ...
    ) -> Reply:
        """The worker's answer; before it, how far a Prepare is, and the parts of a Run. Requests run side by side. Raises
        WorkerDied. Cancelling drops the answer, not the work."""
        ...

    def tell(self, news: WorkerNews) -> None:
        """Say something that has no answer; nothing happens when the process has ended."""
        ...

    async def died(self) -> str:
        """Waits until the process has ended; how it ended, in words."""
        ...

    def kill(self) -> None:
        """End the process at once."""
        ...

    async def close(self) -> None:
        """Let the process end by itself, and kill it after a few seconds if it does not."""
        ...


class WorkerSpawner(Protocol):
    """Makes worker processes from a server that has torch and transformers imported."""

    async def spawn(self, config: WorkerConfig) -> WorkerHandle:
        """A worker that has said it is ready. Raises WorkerDied when it ends before that."""
        ...

    async def close(self) -> None:
        """End the server."""
        ...
