"""Requests that run on models: each under a lease, which lasts until the worker has answered, whoever still waits for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeAlias

from engine.api import CannotServe, EngineError
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import RunEvent, RunResult, Task, TaskPart, TaskResult
from engine.runtime.workers import Running
from engine.scheduler.messages import LeaseAsked, LeaseEnded, Message, RunMeasured, RunOutOfMemory
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure, Reply, RunEnded

RUN_ATTEMPTS: Final = 3
"""A run that finds no room is tried on so many placements of its model."""

RunOnWorker: TypeAlias = Callable[[DeviceId, ModelName, Task, Callable[[TaskPart], None]], Running]
"""Has a device's worker run a task of a model, and hears each part."""

Heard: TypeAlias = "asyncio.Queue[TaskPart | EngineError | None]"
"""Of a run: its parts, then None; an error where it was stopped."""


class Runs:
    """Asks the scheduler for leases, and gives each back once."""

    def __init__(self, post: Callable[[Message], None], run_on_worker: RunOnWorker) -> None:
        self._post = post
        self._run_on_worker = run_on_worker
        self._waiting: dict[int, asyncio.Future[DeviceId]] = {}
        self._running: dict[int, Heard] = {}
        self._numbers = itertools.count(1)

    def granted(self, lease: int, device: DeviceId) -> None:
        """The lease begins."""
        if (waiter := self._waiting.get(lease)) and not waiter.done():
            waiter.set_result(device)

    def denied(self, lease: int, error: EngineError) -> None:
        """There will be no lease; whoever waits for it gets `error`."""
        if (waiter := self._waiting.get(lease)) and not waiter.done():
            waiter.set_exception(error)

    def stop(self, lease: int, error: EngineError) -> None:
        """The run under this lease is given up; whoever waits for it gets `error`."""
        if heard := self._running.get(lease):
            heard.put_nowait(error)

    def end(self, error: EngineError) -> None:
        """Nobody gets a lease any more, and nothing runs any more."""
        for lease in self._waiting:
            self.denied(lease, error)
        for lease in self._running:
            self.stop(lease, error)

    async def run(
        self,
        model: ModelName,
        task: Task,
        ended: Callable[[DeviceId, TaskResult], RunResult],
        granted: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[RunEvent, None]:
        """Run a task: its parts, then what `ended` makes of where it ran and what came of it. Where the model's device has no
        room for it, again where the model is placed then; parts say when they begin anew. `granted` hears each time that it
        gets a device.

        Raises CannotServe when it can't be run, and what `end` was given.
        """
        for attempt in range(1, RUN_ATTEMPTS + 1):
            lease, device = await self._lease(model)
            granted()
            heard: Heard = asyncio.Queue()
            running = self._start(lease, model, device, task, heard)
            try:
                while (part := await heard.get()) is not None:
                    if isinstance(part, EngineError):
                        raise part
                    yield part
            finally:
                if not running.reply.done():
                    running.leave()
            match _reply_of(running.reply, model, device):
                case RunEnded(result=result):
                    yield ended(device, result)
                    return
                case Failure(kind="out of memory") if attempt < RUN_ATTEMPTS:
                    self._post(RunOutOfMemory(model, device))
                case Failure(message=message):
                    raise CannotServe(f"{model} on {device}: {message}")
                case other:
                    raise CannotServe(f"{model} on {device} answered {type(other).__name__} to a run")

    async def _lease(self, model: ModelName) -> tuple[int, DeviceId]:
        lease = next(self._numbers)
        granted = self._waiting[lease] = asyncio.get_running_loop().create_future()
        self._post(LeaseAsked(lease, model))
        try:
            return lease, await granted
        except BaseException:
            self._post(LeaseEnded(lease))
            raise
        finally:
            del self._waiting[lease]

    def _start(self, lease: int, model: ModelName, device: DeviceId, task: Task, heard: Heard) -> Running:
        """Nobody who leaves takes it along: the bytes are in use until the worker has answered, and so is the lease. `heard` gets
        the parts, and None at the end."""
        self._running[lease] = heard
        running = self._run_on_worker(device, model, task, heard.put_nowait)

        def ended(done: asyncio.Future[Reply]) -> None:
            del self._running[lease]
            self._post(LeaseEnded(lease))
            heard.put_nowait(None)
            # An exception is asked for even if nobody waits any more: asyncio would report it as forgotten.
            if done.cancelled() or done.exception():
                return
            reply = done.result()
            if isinstance(reply, RunEnded) and reply.workspace_bytes is not None:
                self._post(RunMeasured(model, device, reply.workspace_bytes, reply.filled))

        running.reply.add_done_callback(ended)
        return running


def _reply_of(running: asyncio.Future[Reply], model: ModelName, device: DeviceId) -> Reply:
    try:
        return running.result()
    except WorkerDied as died:
        raise CannotServe(f"the worker of {device} {died} while it ran {model}; ask again") from died
