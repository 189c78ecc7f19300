"""The engine in this process: `EngineAPI` in front of its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Literal

from engine.api import (
    Answer,
    CannotServe,
    Embeddings,
    Event,
    Generation,
    Hello,
    Recorded,
    Snapshot,
    UnknownModel,
    Updated,
)
from engine.core.commands import Command, Submission, models_of
from engine.core.models import Task
from engine.core.names import ModelName
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.proposing.propose import propose
from engine.core.records import Record
from engine.scheduler.switch import policy_for
from engine.runtime.history import History
from engine.runtime.loop import Loop, MakeExecutor
from engine.scheduler.messages import Message, Withdraw
from engine.runtime.ports import Clock
from engine.runtime.recorder import Recorder
from engine.runtime.sampler import Sampler
from engine.scheduler.scheduler import Scheduler
from engine.runtime.vectors import rows
from engine.worker.protocol import Embed, Embedded, Generate, Generated

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
        vectors = rows(reply.vectors, reply.dimensions)
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
