"""Requests that run on models: each under a lease, which lasts until the worker has answered, whoever still waits for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeAlias

from msgspec import Struct

from engine.api import CannotServe, DeadlinePassed, EngineError, Overloaded, RunStopped, Unfit
from engine.clock import Clock
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import KIND_OF, RunEvent, RunResult, Task, TaskPart, TaskResult
from engine.runtime.workers import Running
from engine.scheduler.effects import Deny, Grant, StopRun
from engine.scheduler.messages import LeaseAsked, LeaseEnded, Message, RunMeasured, RunOutOfMemory
from engine.settings.schema import RequestDeadlines
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure, Reply, RunEnded

RUN_ATTEMPTS: Final = 3
"""A run that finds no room is tried on so many placements of its model."""
MOST_DEATHS: Final = 1
"""After so many deaths of workers that ran it, a request is tried once more. It may be what they died of, and each of them takes
others' runs along."""

RunOnWorker: TypeAlias = Callable[[DeviceId, ModelName, Task, Callable[[TaskPart], None]], Running]
"""Has a device's worker run a task of a model, and hears each part."""

Heard: TypeAlias = "asyncio.Queue[TaskPart | EngineError | None]"
"""Of a run: its parts, then None; an error where it was stopped."""


class _Request(Struct, eq=False):
    """One that has not ended, over all its attempts."""

    model: ModelName
    task: Task
    lease: int = 0
    """Of the attempt under way."""
    device: DeviceId | None = None
    """Where that runs; None while it waits for its lease."""
    found_no_room: int = 0
    deaths: int = 0
    over: EngineError | None = None
    """Why it is given up."""


class _Run(Struct, eq=False):
    """One attempt, on its device."""

    running: Running
    heard: Heard
    is_left: bool = False

    def leave(self) -> None:
        """Nobody waits for it any more: told once, and only as long as it goes on."""
        if not self.is_left and not self.running.reply.done():
            self.is_left = True
            self.running.leave()


class Runs:
    """Asks the scheduler for leases, and gives each back once. `waits_for` says in words what a model waits for that is not
    ready."""

    def __init__(
        self,
        post: Callable[[Message], None],
        run_on_worker: RunOnWorker,
        clock: Clock,
        deadlines: RequestDeadlines,
        waits_for: Callable[[ModelName], str],
    ) -> None:
        self._post = post
        self._run_on_worker = run_on_worker
        self._clock = clock
        self._deadlines = deadlines
        self._waits_for = waits_for
        self._requests: dict[int, _Request] = {}
        """Those that have not ended, by their numbers."""
        self._waiting: dict[int, asyncio.Future[DeviceId]] = {}
        self._running: dict[int, _Run] = {}
        self._numbers = itertools.count(1)
        self._ended: EngineError | None = None

    def hear(self, word: Grant | Deny | StopRun) -> None:
        """What the scheduler says of a lease."""
        match word:
            case Grant(lease, device):
                self.granted(lease, device)
            case Deny(lease, reason, retry_after_s):
                full = None if retry_after_s is None else Overloaded(reason, retry_after_s)
                self.denied(lease, full or CannotServe(reason))
            case StopRun(lease, reason):
                self.stop(lease, RunStopped(reason))

    def granted(self, lease: int, device: DeviceId) -> None:
        """The lease begins."""
        if (waiter := self._waiting.get(lease)) and not waiter.done():
            waiter.set_result(device)

    def denied(self, lease: int, error: EngineError) -> None:
        """There will be no lease; whoever waits for it gets `error`."""
        if (waiter := self._waiting.get(lease)) and not waiter.done():
            waiter.set_exception(error)

    def stop(self, lease: int, error: EngineError) -> None:
        """The run under this lease is given up; whoever waits for it gets `error`. Its worker is told at once: who waits may be
        slow to take what has come so far."""
        if run := self._running.get(lease):
            run.heard.put_nowait(error)
            run.leave()

    def cancel(self, number: int) -> bool:
        """The operator has the request given up, wherever it is. False where it is none of ours: it has ended."""
        if (request := self._requests.get(number)) is None:
            return False
        words = f"the operator cancelled this request (number {number}); ask again where it is still wanted"
        self._give_up(request, RunStopped(words))
        return True

    def end(self, error: EngineError) -> None:
        """Nobody gets a lease any more, and nothing runs any more, now or later."""
        self._ended = self._ended or error
        for lease in self._waiting:
            self.denied(lease, error)
        for lease in self._running:
            self.stop(lease, error)

    async def run(
        self,
        number: int,
        model: ModelName,
        task: Task,
        ended: Callable[[DeviceId, TaskResult], RunResult],
        granted: Callable[[DeviceId], None] = lambda _: None,
        made_ready: Callable[[], Awaitable[None]] | None = None,
    ) -> AsyncGenerator[RunEvent, None]:
        """Run a task: its parts, then what `ended` makes of where it ran and what came of it. Where the model's device has no
        room for it, or its worker dies, again where the model is placed then; parts say when they begin anew. `granted` hears
        each time that it gets a device. `made_ready` is awaited first; `number` is the request's own, for `cancel`.

        Raises CannotServe when it can't be run, DeadlinePassed when it takes too long, and what `denied`, `stop` or `end` was
        given.
        """
        request = self._requests[number] = _Request(model, task)
        deadline = asyncio.create_task(self._watch(request))
        try:
            if made_ready is not None:
                await made_ready()
            while True:
                lease, device = await self._lease(request)
                granted(device)
                run = self._start(lease, request, device)
                try:
                    while (part := await run.heard.get()) is not None:
                        if isinstance(part, EngineError):
                            raise part
                        yield part
                finally:
                    run.leave()
                if (result := self._result(request, device, run.running.reply)) is not None:
                    yield ended(device, result)
                    return
        finally:
            del self._requests[number]
            deadline.cancel()

    async def _lease(self, request: _Request) -> tuple[int, DeviceId]:
        if over := request.over or self._ended:
            raise over
        again = request.lease > 0
        lease, request.device = next(self._numbers), None
        request.lease = lease
        granted = self._waiting[lease] = asyncio.get_running_loop().create_future()
        self._post(LeaseAsked(lease, request.model, request.task.work, again))
        try:
            return lease, await granted
        except BaseException:
            self._post(LeaseEnded(lease))
            raise
        finally:
            del self._waiting[lease]

    def _start(self, lease: int, request: _Request, device: DeviceId) -> _Run:
        """Nobody who leaves takes it along: the bytes are in use until the worker has answered, and so is the lease."""
        request.device = device
        heard: Heard = asyncio.Queue()
        if over := request.over or self._ended:  # in the turn in which the lease was granted
            heard.put_nowait(over)
        running = self._run_on_worker(device, request.model, request.task, heard.put_nowait)
        run = self._running[lease] = _Run(running, heard)

        def ended(done: asyncio.Future[Reply]) -> None:
            del self._running[lease]
            # An exception is asked for even if nobody waits any more: asyncio would report it as forgotten.
            reply = None if done.cancelled() or done.exception() else done.result()
            self._post(LeaseEnded(lease, reply.device_s if isinstance(reply, RunEnded) else 0.0))
            heard.put_nowait(None)
            if isinstance(reply, RunEnded) and reply.workspace_bytes is not None:
                self._post(RunMeasured(request.model, device, reply.workspace_bytes, reply.filled))

        running.reply.add_done_callback(ended)
        return run

    def _result(self, request: _Request, device: DeviceId, ended: asyncio.Future[Reply]) -> TaskResult | None:
        """What came of an attempt; None where there is to be another one. Raises CannotServe."""
        model = request.model
        try:
            reply = ended.result()
        except WorkerDied as died:
            request.deaths += 1
            if request.deaths > MOST_DEATHS:
                raise CannotServe(_deaths(request, device, died)) from died
            return None
        match reply:
            case RunEnded(result=result):
                return result
            case Failure(kind="out of memory") if request.found_no_room < RUN_ATTEMPTS - 1:
                request.found_no_room += 1
                self._post(RunOutOfMemory(model, device))
                return None
            case Failure(kind="bad request", message=message):
                raise Unfit(f"{model} on {device}: {message}")
            case Failure(message=message):
                raise CannotServe(f"{model} on {device}: {message}")
            case other:
                raise CannotServe(f"{model} on {device} answered {type(other).__name__} to a run")

    async def _watch(self, request: _Request) -> None:
        """Give the request up when its deadline has passed, wherever it is then."""
        deadline_s = self._deadlines.of(KIND_OF[type(request.task)])
        await self._clock.sleep(deadline_s)
        self._give_up(request, DeadlinePassed(self._late(request, deadline_s)))

    def _give_up(self, request: _Request, error: EngineError) -> None:
        request.over = request.over or error
        self.denied(request.lease, error)
        self.stop(request.lease, error)

    def _late(self, request: _Request, deadline_s: float) -> str:
        key = f"requests.deadline_s.{KIND_OF[type(request.task)]}"
        if request.device is None:
            where, remedy = self._waits_for(request.model), f"load it beforehand (citadel load {request.model})"
        else:
            where, remedy = f"it ran on {request.device}, or waited for its turn there", "ask for less at once"
        return (
            f"{request.model} did not answer within {deadline_s:g} s and was given up: {where}; {remedy}, "
            f"or allow more time ({key} in gpu_allocation.yaml)"
        )


def _deaths(request: _Request, device: DeviceId, died: WorkerDied) -> str:
    return (
        f"the worker of {device} {died} while it ran {request.model}, and so did the one before that ran this request, which may "
        "be what they died of: ask for less at once; the engine's log has their last words"
    )
