"""The engine in this process: `EngineAPI` in front of its loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
from array import array
from collections.abc import AsyncIterator, Callable
from sys import byteorder
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
from engine.clock import Clock
from engine.core.commands import Command, Submission, models_of
from engine.core.ledger import budget
from engine.core.models import Task
from engine.core.names import ModelName
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.proposing.propose import propose
from engine.core.records import Notice, Record
from engine.runtime.executor import Executor
from engine.runtime.history import History
from engine.runtime.recorder import Recorder
from engine.runtime.requests import Runs
from engine.runtime.sampler import QUIET_INTERVAL_S, Rest, Sampler
from engine.scheduler.board import TICK_S, Instant
from engine.scheduler.effects import AnswerCommand, Deny, Effect, Grant, StartWorker, Write
from engine.scheduler.messages import KeepQuiet, Message, Submit, Tick, Withdraw
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.switch import policy_for
from engine.worker.protocol import Embed, Embedded, Generate, Generated, Request
from engine.worker.protocol import Reply as WorkerReply

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
            case AnswerCommand(submission_id, answer):
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


def matrix_rows(data: bytes, dimensions: int) -> list[list[float]]:
    """The rows of a row-major little-endian float32 matrix with `dimensions` columns."""
    figures = array("f", data)
    if byteorder == "big":
        figures.byteswap()
    return [figures[start : start + dimensions].tolist() for start in range(0, len(figures), dimensions)]


NEWS_INTERVAL_S: Final = 0.25
"""Subscribers get the newest snapshot at most so often."""


class Engine:
    """`EngineAPI` over one scheduler: what is asked goes through the loop's inbox, what is looked at is read off its state."""

    def __init__(self, hello: Hello, scheduler: Scheduler, history: History, recorder: Recorder, clock: Clock) -> None:
        self._scheduler = scheduler
        self._history = history
        self._recorder = recorder
        self._clock = clock
        self._loop = Loop(hello, scheduler, history, recorder, clock)
        self._life: asyncio.Task[None] | None = None

    # ── its life ─────────────────────────────────────────────────────────────────────────────────

    def start(self, make_executor: MakeExecutor, sampler: Sampler) -> None:
        """Begin to live."""
        self._life = asyncio.create_task(self._loop.live(make_executor, sampler), name="engine")

    def post(self, message: Message) -> None:
        """Put a message into the loop's inbox."""
        self._loop.post(message)

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Write down something that happened without a command."""
        self._loop.note(level, text)

    async def ended(self) -> None:
        """Wait until the engine has ended. Raises what broke it, if something did."""
        if self._life is not None:
            await asyncio.shield(self._life)

    async def stop(self) -> None:
        self._loop.stop()
        await self.ended()

    async def close(self) -> None:
        """In this process the handle is the engine."""
        await self.stop()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    async def hello(self) -> Hello:
        return self._loop.hello

    async def snapshot(self) -> Snapshot:
        return await self._loop.snapshot()

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        seen = self._history.last_seq if after is None else after
        while True:
            changed = self._loop.changed
            yield Updated(await self.snapshot())
            for record in self._history.after(seen):
                seen = record.seq
                yield Recorded(record)
            await self._clock.sleep(NEWS_INTERVAL_S)
            await changed.wait()

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return self._history.newest(limit)

    async def plan(self, command: Command) -> Plan | Refusal:
        self._loop.refuse_if_ended()
        policy = policy_for("operator", self._scheduler.policy)
        return plan(self._scheduler.state, command, policy, self._clock.now())

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        self._loop.refuse_if_ended()
        state, policy = self._scheduler.state, policy_for("operator", self._scheduler.policy)
        # in a thread: the best arrangement of many models takes longer than the loop may stand still
        return await asyncio.to_thread(propose, state, wish, policy, self._clock.now())

    # ── doing ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, submission: Submission) -> Answer:
        self._loop.refuse_if_ended()
        for model in models_of(submission.command):
            self._check(model)
        return await self._loop.answer(submission)

    async def cancel(self, submission_id: str) -> bool:
        jobs = self._scheduler.jobs(self._clock.monotonic())
        if not any(job.id == submission_id for job in jobs):
            return False
        self.post(Withdraw(submission_id))
        return True

    async def embed(self, model: ModelName, texts: list[str]) -> Embeddings:
        self._take_request(model, "embedding", len(texts))
        began_s = self._clock.monotonic()
        device, reply = await self._loop.runs.run(model, lambda number: Embed(number, model, texts))
        if not isinstance(reply, Embedded):
            raise CannotServe(f"{model} on {device} answered {type(reply).__name__} to a request for vectors")
        seconds = self._clock.monotonic() - began_s
        vectors = matrix_rows(reply.vectors, reply.dimensions)
        return Embeddings(model, device, vectors, seconds, self._scheduler.state.models[model].synthetic)

    async def generate(self, model: ModelName, prompt: str, max_tokens: int = 32) -> Generation:
        self._take_request(model, "generation", max_tokens)
        began_s = self._clock.monotonic()
        device, reply = await self._loop.runs.run(model, lambda number: Generate(number, model, prompt, max_tokens))
        if not isinstance(reply, Generated):
            raise CannotServe(f"{model} on {device} answered {type(reply).__name__} to a request for text")
        seconds = self._clock.monotonic() - began_s
        synthetic = self._scheduler.state.models[model].synthetic
        return Generation(model, device, reply.text, reply.tokens, seconds, synthetic)

    async def keep_quiet(self, for_s: float) -> float:
        return self._loop.keep_quiet(for_s)

    def _take_request(self, model: ModelName, task: Task, work: int) -> None:
        """Refuse what can't be served, and record the rest as demand."""
        self._loop.refuse_if_ended()
        self._check(model)
        spec = self._scheduler.state.models[model].spec
        if spec.task != task:
            raise CannotServe(f"{model} is for {spec.task}, not for {task}")
        self._recorder.asked(model, work)

    def _check(self, model: ModelName) -> None:
        if model not in self._scheduler.state.models:
            names = ", ".join(self._scheduler.state.models)
            raise UnknownModel(f"no model is named {model}; the catalog has {names}")
