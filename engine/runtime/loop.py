"""The engine's loop: feeds the scheduler one message at a time, and takes what it decides to whoever performs it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from engine.api import Answer, CannotServe, EngineUnreachable, Hello, Snapshot
from engine.core.commands import Submission
from engine.core.ledger import budget
from engine.core.records import Notice
from engine.scheduler.board import TICK_S, Instant
from engine.scheduler.effects import Deny, Effect, Grant, Reply, StartWorker, Write
from engine.runtime.executor import Executor
from engine.runtime.history import History
from engine.scheduler.messages import KeepQuiet, Message, Submit, Tick
from engine.runtime.ports import Clock
from engine.runtime.recorder import Recorder
from engine.runtime.rest import Rest
from engine.runtime.requests import Runs
from engine.runtime.sampler import QUIET_INTERVAL_S, Sampler
from engine.scheduler.scheduler import Scheduler
from engine.worker.protocol import Reply as WorkerReply
from engine.worker.protocol import Request

_log: Final = logging.getLogger(__name__)

MakeExecutor: TypeAlias = Callable[[Callable[[Message], None], asyncio.TaskGroup], Executor]
"""Makes the executor, given where to post its reports and the group that its tasks belong to."""


class Loop:
    """One scheduler's life. Whoever wants something of it posts a message and waits for the answer."""

    def __init__(self, hello: Hello, scheduler: Scheduler, history: History, recorder: Recorder, clock: Clock) -> None:
        self.hello: Final = hello
        self._scheduler = scheduler
        self._history = history
        self._recorder = recorder
        self._clock = clock
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: dict[str, list[asyncio.Future[Answer]]] = {}
        self._executor: Executor | None = None
        self._stopping = asyncio.Event()
        self._seq = 0
        self._ended = ""
        self._quiet_sample_s = QUIET_INTERVAL_S
        self._rest = Rest(lambda: scheduler.may_rest(clock.monotonic()))
        self.runs: Final = Runs(self.post, self._ask_worker)
        self.changed = asyncio.Event()
        """Set, and replaced by another, with each change."""

    def post(self, message: Message) -> None:
        """Put a message into the inbox."""
        self._inbox.put_nowait(message)

    def keep_quiet(self, for_s: float) -> float:
        """Rest for so long, or no longer; the seconds between two readings of a device meanwhile."""
        self.refuse_if_ended()
        self.post(KeepQuiet(for_s))
        return self._quiet_sample_s

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Write down something that happened without a command."""
        self._history.add(Notice(self._clock.now(), level, text))
        self._wake()

    def refuse_if_ended(self) -> None:
        """Raises EngineUnreachable once the loop has ended."""
        if self._ended:
            raise EngineUnreachable(self._ended)

    async def snapshot(self) -> Snapshot:
        """Everything, at this moment. Raises EngineUnreachable once the loop has ended."""
        self.refuse_if_ended()
        state = self._scheduler.state
        return Snapshot(
            seq=self._seq,
            at_s=self._clock.now(),
            state=state,
            jobs=self._scheduler.jobs(self._clock.monotonic()),
            budgets={device: budget(state, device) for device in state.devices},
            quiet_sample_s=self._quiet_sample_s if self._is_quiet() else None,
        )

    async def answer(self, submission: Submission) -> Answer:
        """Submit, and wait for the answer. Cancelling stops the waiting, not the command."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers.setdefault(submission.id, []).append(answer)
        self.post(Submit(submission))
        return await answer

    def stop(self) -> None:
        """Let `live` end, in order."""
        self._stopping.set()

    async def live(self, make_executor: MakeExecutor, sampler: Sampler) -> None:
        """Run until `stop`, then end in order: workers first, the journal last. An exception means a defect; it is logged."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._executor = executor = make_executor(self.post, tasks)
                self._quiet_sample_s = sampler.quiet_interval_s
                writer = tasks.create_task(self._history.write())
                running = [
                    tasks.create_task(self._take_messages()),
                    tasks.create_task(sampler.run(executor.workers, self.post, self._rest)),
                ]
                recording = tasks.create_task(self._recorder.run(self.hello, self.snapshot))
                for device in self._scheduler.state.devices:
                    executor.perform(StartWorker(device))
                await self._stopping.wait()
                for task in running:
                    task.cancel()
                await executor.close()
                await sampler.close()
                await self._recorder.written()
                recording.cancel()
                await self._history.written()
                writer.cancel()
        except* Exception:
            _log.critical("the engine broke; its state is in the journal", exc_info=True)
            raise
        finally:
            self._end("the engine has stopped")

    async def _take_messages(self) -> None:
        while True:
            self._handle(await self._next_message())

    async def _next_message(self) -> Message:
        if not self._scheduler.is_waiting:
            return await self._inbox.get()
        try:
            async with asyncio.timeout(TICK_S):
                return await self._inbox.get()
        except TimeoutError:
            return Tick()

    def _handle(self, message: Message) -> None:
        state, last_seq, was_waiting = self._scheduler.state, self._history.last_seq, self._scheduler.is_waiting
        was_quiet = self._is_quiet()
        for effect in self._scheduler.handle(message, Instant(self._clock.now(), self._clock.monotonic())):
            self._perform(effect)
        self._rest.look_again()
        # By identity: the state is replaced whenever it changes, and comparing all of it after each message would cost more.
        changed = self._scheduler.state is not state or self._history.last_seq != last_seq
        changed |= self._is_quiet() != was_quiet
        if changed or was_waiting or self._scheduler.is_waiting:
            self._wake()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Reply(submission_id, answer):
                for asker in self._answers.pop(submission_id, []):
                    if not asker.done():
                        asker.set_result(answer)
            case Grant(lease, device):
                self.runs.granted(lease, device)
            case Deny(lease, reason):
                self.runs.denied(lease, CannotServe(reason))
            case Write(entry):
                self._history.add(entry)
            case _:
                assert self._executor is not None
                self._executor.perform(effect)

    async def _ask_worker(self, device: str, make: Callable[[int], Request]) -> WorkerReply:
        assert self._executor is not None
        return await self._executor.workers.ask(device, make)

    def _is_quiet(self) -> bool:
        return self._scheduler.is_quiet(self._clock.monotonic())

    def _wake(self) -> None:
        self._seq += 1
        self.changed.set()
        self.changed = asyncio.Event()

    def _end(self, reason: str) -> None:
        self._ended = reason
        for waiter in itertools.chain(*self._answers.values()):
            if not waiter.done():
                waiter.set_exception(EngineUnreachable(reason))
        self.runs.end(EngineUnreachable(reason))
        self._wake()
