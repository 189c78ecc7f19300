"""Requests that run on models: each under a lease, which lasts until the worker has answered, whoever still waits for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from engine.api import CannotServe, EngineError
from engine.core.names import DeviceId, ModelName
from engine.scheduler.messages import LeaseAsked, LeaseEnded, Message, RunMeasured, RunOutOfMemory
from engine.worker.client import WorkerDied
from engine.worker.protocol import Embedded, Failure, Generated, Reply, Request

RUN_ATTEMPTS: Final = 3
"""A run that finds no room is tried on so many placements of its model."""

AskWorker: TypeAlias = Callable[[DeviceId, Callable[[int], Request]], Awaitable[Reply]]
"""Sends the request that is made with the given number to a device's worker; its answer."""


class Runs:
    """Asks the scheduler for leases, and gives each back once."""

    def __init__(self, post: Callable[[Message], None], ask_worker: AskWorker) -> None:
        self._post = post
        self._ask_worker = ask_worker
        self._waiting: dict[int, asyncio.Future[DeviceId]] = {}
        self._numbers = itertools.count(1)

    def granted(self, lease: int, device: DeviceId) -> None:
        """The lease begins."""
        if (waiter := self._waiting.get(lease)) and not waiter.done():
            waiter.set_result(device)

    def denied(self, lease: int, error: EngineError) -> None:
        """There will be no lease; whoever waits for it gets `error`."""
        if (waiter := self._waiting.get(lease)) and not waiter.done():
            waiter.set_exception(error)

    def end(self, error: EngineError) -> None:
        """Nobody gets a lease any more."""
        for lease in self._waiting:
            self.denied(lease, error)

    async def run(self, model: ModelName, make: Callable[[int], Request]) -> tuple[DeviceId, Reply]:
        """Run a request; where the model's device has no room for it, again where the model is placed then.

        Raises CannotServe when it can't be run, and what `end` was given.
        """
        for attempt in range(RUN_ATTEMPTS):
            device, reply = await self._run_leased(model, make)
            if not isinstance(reply, Failure):
                return device, reply
            if reply.kind != "out of memory" or attempt == RUN_ATTEMPTS - 1:
                raise CannotServe(f"{model} on {device}: {reply.message}")
            self._post(RunOutOfMemory(model, device))
        raise AssertionError("the last attempt returns or raises")

    async def _run_leased(self, model: ModelName, make: Callable[[int], Request]) -> tuple[DeviceId, Reply]:
        lease = next(self._numbers)
        granted = self._waiting[lease] = asyncio.get_running_loop().create_future()
        self._post(LeaseAsked(lease, model))
        try:
            device = await granted
        except BaseException:
            self._post(LeaseEnded(lease))
            raise
        finally:
            del self._waiting[lease]
        work = asyncio.ensure_future(self._ask_worker(device, make))
        work.add_done_callback(lambda done: self._worked(lease, model, device, done))
        try:
            reply = await asyncio.shield(work)
        except WorkerDied as died:
            raise CannotServe(f"the worker of {device} {died} while it ran {model}; ask again") from died
        return device, reply

    def _worked(self, lease: int, model: ModelName, device: DeviceId, done: asyncio.Future[Reply]) -> None:
        self._post(LeaseEnded(lease))
        if done.cancelled() or done.exception():  # a caller who left does not want it
            return
        reply = done.result()
        if isinstance(reply, Embedded | Generated) and reply.workspace_bytes is not None:
            self._post(RunMeasured(model, device, reply.workspace_bytes, reply.filled))
