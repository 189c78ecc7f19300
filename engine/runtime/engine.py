"""The engine in this process: the loop that feeds the scheduler, and `EngineAPI` in front of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal, TypeAlias

from engine.api import (
    Answer,
    CannotServe,
    Embeddings,
    EngineUnreachable,
    Event,
    Generation,
    Hello,
    Recorded,
    Snapshot,
    UnknownModel,
    Updated,
)
from engine.core.commands import Command, Submission, models_of
from engine.core.ledger import budget
from engine.core.models import Task
from engine.core.names import DeviceId, ModelName
from engine.core.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.proposing import propose
from engine.core.records import Notice, Record
from engine.runtime.board import Instant
from engine.runtime.effects import Deny, Effect, Grant, Reply, StartWorker, Write
from engine.runtime.executor import Executor
from engine.runtime.flow import policy_for
from engine.runtime.history import History
from engine.runtime.messages import Ask, Message, Ran, RanShort, Return, Submit, Tick, Withdraw
from engine.runtime.ports import Clock
from engine.runtime.recorder import Recorder
from engine.runtime.sampler import Sampler
from engine.runtime.scheduler import Scheduler
from engine.runtime.vectors import rows
from engine.worker.client import WorkerDied
from engine.worker.protocol import Embed, Embedded, Failure, Generate, Generated, Request
from engine.worker.protocol import Reply as WorkerReply

_log: Final = logging.getLogger(__name__)
TICK_S: Final = 0.25
"""How late a deadline may be noticed."""
RUN_ATTEMPTS: Final = 3
"""A run that finds no room is tried on so many placements of its model."""
NEWS_INTERVAL_S: Final = 0.25
"""Subscribers get the newest snapshot at most so often."""

MakeExecutor: TypeAlias = Callable[[Callable[[Message], None], asyncio.TaskGroup], Executor]
"""Makes the executor, given where to post its reports and the group that its tasks belong to."""


class Engine:
    """`EngineAPI` over one scheduler. `live` is its life; every other method talks to it through the inbox or reads its state."""

    def __init__(self, hello: Hello, scheduler: Scheduler, history: History, recorder: Recorder, clock: Clock) -> None:
        self._hello = hello
        self._scheduler = scheduler
        self._history = history
        self._recorder = recorder
        self._clock = clock
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: dict[str, list[asyncio.Future[Answer]]] = {}
        self._leases: dict[int, asyncio.Future[DeviceId]] = {}
        self._lease_numbers = itertools.count(1)
        self._executor: Executor | None = None
        self._stopping = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._seq = 0
        self._ended: str = ""

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def post(self, message: Message) -> None:
        """Put a message into the inbox."""
        self._inbox.put_nowait(message)

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Write down something that happened without a command."""
        self._history.add(Notice(self._clock.now(), level, text))
        self._wake()

    async def live(self, make_executor: MakeExecutor, sampler: Sampler) -> None:
        """Run until `stop`, then end in order: workers first, the journal last. An exception means a defect; it is logged."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._executor = executor = make_executor(self.post, tasks)
                writer = tasks.create_task(self._history.write())
                running = [
                    tasks.create_task(self._take_messages()),
                    tasks.create_task(sampler.run(executor, self.post)),
                ]
                recording = tasks.create_task(self._recorder.run(self._hello, self._scheduler.policy, self.snapshot))
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
        for effect in self._scheduler.handle(message, Instant(self._clock.now(), self._clock.monotonic())):
            self._perform(effect)
        # By identity: the state is replaced whenever it changes, and comparing all of it after each message would cost more.
        changed = self._scheduler.state is not state or self._history.last_seq != last_seq
        if changed or was_waiting or self._scheduler.is_waiting:
            self._wake()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Reply(submission_id, answer):
                for asker in self._answers.pop(submission_id, []):
                    if not asker.done():
                        asker.set_result(answer)
            case Grant(lease, device):
                if (waiter := self._leases.get(lease)) and not waiter.done():
                    waiter.set_result(device)
            case Deny(lease, reason):
                if (waiter := self._leases.get(lease)) and not waiter.done():
                    waiter.set_exception(CannotServe(reason))
            case Write(entry):
                self._history.add(entry)
            case _:
                assert self._executor is not None
                self._executor.perform(effect)

    def _wake(self) -> None:
        self._seq += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, reason: str) -> None:
        self._ended = reason
        waiters: list[asyncio.Future[Answer] | asyncio.Future[DeviceId]] = [*self._leases.values()]
        for waiter in (*itertools.chain(*self._answers.values()), *waiters):
            if not waiter.done():
                waiter.set_exception(EngineUnreachable(reason))
        self._wake()

    def start(self, make_executor: MakeExecutor, sampler: Sampler) -> None:
        """Begin to live."""
        self._life = asyncio.create_task(self.live(make_executor, sampler), name="engine")

    async def ended(self) -> None:
        """Wait until the engine has ended. Raises what broke it, if something did."""
        if self._life is not None:
            await asyncio.shield(self._life)

    async def stop(self) -> None:
        self._stopping.set()
        await self.ended()

    async def close(self) -> None:
        """In this process the handle is the engine."""
        await self.stop()

    # ── the API ──────────────────────────────────────────────────────────────────────────────────

    async def hello(self) -> Hello:
        return self._hello

    async def snapshot(self) -> Snapshot:
        self._refuse_if_ended()
        state = self._scheduler.state
        return Snapshot(
            seq=self._seq,
            at_s=self._clock.now(),
            state=state,
            jobs=self._scheduler.jobs(self._clock.monotonic()),
            budgets={device: budget(state, device) for device in state.devices},
        )

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        seen = self._history.last_seq if after is None else after
        while True:
            changed = self._changed
            yield Updated(await self.snapshot())
            for record in self._history.after(seen):
                seen = record.seq
                yield Recorded(record)
            await self._clock.sleep(NEWS_INTERVAL_S)
            await changed.wait()

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return self._history.newest(limit)

    async def plan(self, command: Command) -> Plan | Refusal:
        self._refuse_if_ended()
        policy = policy_for("operator", self._scheduler.policy)
        return plan(self._scheduler.state, command, policy, self._clock.now())

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        self._refuse_if_ended()
        state, policy = self._scheduler.state, policy_for("operator", self._scheduler.policy)
        # in a thread: the best arrangement of many models takes longer than the loop may stand still
        return await asyncio.to_thread(propose, state, wish, policy, self._clock.now())

    async def submit(self, submission: Submission) -> Answer:
        """Cancelling stops the waiting, not the command."""
        self._refuse_if_ended()
        for model in models_of(submission.command):
            self._known(model)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers.setdefault(submission.id, []).append(answer)
        self.post(Submit(submission))
        return await answer

    async def cancel(self, submission_id: str) -> bool:
        jobs = self._scheduler.jobs(self._clock.monotonic())
        if not any(job.id == submission_id for job in jobs):
            return False
        self.post(Withdraw(submission_id))
        return True

    async def embed(self, model: ModelName, texts: list[str]) -> Embeddings:
        self._known(model, "embedding")
        self._recorder.asked(model, len(texts))
        began_s = self._clock.monotonic()
        device, reply = await self._run(model, lambda number: Embed(number, model, texts))
        if not isinstance(reply, Embedded):
            raise CannotServe(f"{model} on {device} answered {type(reply).__name__} to a request for vectors")
        seconds = self._clock.monotonic() - began_s
        vectors = rows(reply.vectors, reply.dimensions)
        return Embeddings(model, device, vectors, seconds, self._scheduler.state.models[model].synthetic)

    async def generate(self, model: ModelName, prompt: str, max_tokens: int = 32) -> Generation:
        self._known(model, "generation")
        self._recorder.asked(model, max_tokens)
        began_s = self._clock.monotonic()
        device, reply = await self._run(model, lambda number: Generate(number, model, prompt, max_tokens))
        if not isinstance(reply, Generated):
            raise CannotServe(f"{model} on {device} answered {type(reply).__name__} to a request for text")
        seconds = self._clock.monotonic() - began_s
        synthetic = self._scheduler.state.models[model].synthetic
        return Generation(model, device, reply.text, reply.tokens, seconds, synthetic)

    async def _run(self, model: ModelName, make: Callable[[int], Request]) -> tuple[DeviceId, WorkerReply]:
        """Run a request; where the model's device has no room for it, again where the model is placed then."""
        for attempt in range(RUN_ATTEMPTS):
            device, reply = await self._run_leased(model, make)
            if not isinstance(reply, Failure):
                return device, reply
            if reply.kind != "out of memory" or attempt == RUN_ATTEMPTS - 1:
                raise CannotServe(f"{model} on {device}: {reply.message}")
            self.post(RanShort(model, device))
        raise AssertionError("the last attempt returns or raises")

    async def _run_leased(self, model: ModelName, make: Callable[[int], Request]) -> tuple[DeviceId, WorkerReply]:
        """Run a request under a lease, which lasts until the worker has answered, also when the caller leaves before."""
        self._refuse_if_ended()
        assert self._executor is not None
        lease = next(self._lease_numbers)
        granted = self._leases[lease] = asyncio.get_running_loop().create_future()
        self.post(Ask(lease, model))
        try:
            device = await granted
        except BaseException:
            self.post(Return(lease))
            raise
        finally:
            del self._leases[lease]
        work = asyncio.ensure_future(self._executor.ask(device, make))
        work.add_done_callback(lambda done: self._worked(lease, model, device, done))
        try:
            reply = await asyncio.shield(work)
        except WorkerDied as died:
            raise CannotServe(f"the worker of {device} {died} while it ran {model}; ask again") from died
        return device, reply

    def _worked(self, lease: int, model: ModelName, device: DeviceId, done: asyncio.Future[WorkerReply]) -> None:
        self.post(Return(lease))
        if done.cancelled() or done.exception():  # a caller who left does not want it
            return
        reply = done.result()
        if isinstance(reply, Embedded | Generated) and reply.workspace_bytes is not None:
            self.post(Ran(model, device, reply.workspace_bytes, reply.filled))

    def _known(self, model: ModelName, task: Task | None = None) -> None:
        known = self._scheduler.state.models.get(model)
        if known is None:
            names = ", ".join(self._scheduler.state.models)
            raise UnknownModel(f"no model is named {model}; the catalog has {names}")
        if task is not None and known.spec.task != task:
            raise CannotServe(f"{model} is for {known.spec.task}, not for {task}")

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise EngineUnreachable(self._ended)
