"""An engine for tests: the whole `EngineAPI` in memory, with loads that wait until the test lets them go on."""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import Literal

from msgspec.structs import replace

from engine.api import (
    ASKER,
    PROTOCOL,
    Answer,
    BadRequest,
    Cancelled,
    Changed,
    Declined,
    Done,
    EngineAPI,
    EngineError,
    EngineUnreachable,
    Event,
    Failed,
    Hello,
    JobView,
    Recorded,
    Snapshot,
    Unfit,
    UnknownModel,
    Updated,
)
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Load, Submission, models_of, renamed
from engine.core.insight.request_figures import Asker, RequestFigures, RequestsUnderWay, RequestUnderWay
from engine.core.ledger import set_keep_alive
from engine.core.model_names import model_meant, unknown_model
from engine.core.models import ModelSpec
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, Plan, Refusal
from engine.core.policy import Policy
from engine.core.proposals import Proposal, Wish
from engine.core.proposing.propose import propose
from engine.core.proposing.undo import remembered
from engine.core.records import Entry, Notice, Phases, Pinned, Record, Refused, Switch
from engine.core.state import Resident, State
from engine.core.tasks import (
    KIND_OF,
    Classify,
    Continuation,
    Embed,
    Generate,
    LabelScores,
    Rerank,
    RunEvent,
    RunResult,
    Scores,
    Task,
    TaskResult,
    TextPart,
    TextTokens,
    Vectors,
)
from tests.scripted_plans import START_S, apply_step, measured, scripted_budgets, scripted_plan, scripted_state

QUIET_SAMPLE_S = 10.0


def vectors_of(rows: Sequence[Sequence[float]]) -> Vectors:
    """The rows as a worker sends them."""
    return Vectors(len(rows[0]) if rows else 0, array("f", [figure for row in rows for figure in row]).tobytes())


def _read(texts: Sequence[str], truncate: bool) -> tuple[TextTokens, ...]:
    """Words of each text, and how many of them are read."""
    seen = [len(text.split()) for text in texts]
    if max(seen, default=0) > 4 and not truncate:
        raise Unfit(f"text {seen.index(max(seen)) + 1} is {max(seen)} tokens long, and the model reads 4")
    return tuple(TextTokens(words, min(4, words)) for words in seen)


class ScriptedEngine(EngineAPI):
    """Carries commands out in memory and at once, unless the test holds its loads."""

    def __init__(self, state: State | None = None) -> None:
        self.now_s = START_S
        self.mono_s = 0.0
        """Its steady clock, which stands unless a test moves it."""
        self.submissions: list[Submission] = []
        """Every submission that was carried out or declined, in order."""
        self.asked: list[Task] = []
        """What models were asked, in order."""
        self.askers: list[Asker] = []
        """Who asked, for each of these."""
        self.stopped = False
        self.catalog_change = CatalogChange()
        """What the next reading of the catalog finds."""
        self.catalog_mistake = ""
        self.reloads = 0
        self.stopped_now = False
        """Whether runs were not to be waited for."""
        self.restarted: list[DeviceId] = []
        """Whose workers were restarted, in order."""
        self.quiet = False
        """Whether somebody measures."""
        self.config = "/etc/citadel"
        self.banner = "the GPUs are virtual, in host RAM"
        self.pid = 4242
        self.request_figures: dict[ModelName, RequestFigures] = {}
        """What snapshots say of requests."""
        self.under_way: tuple[RequestUnderWay, ...] = ()
        """Requests one by one."""
        self.cancelled: list[int] = []
        """Numbers of those that were cancelled, in order."""
        self._state = state or scripted_state()
        self._seq = 0
        self._jobs: dict[str, JobView] = {}
        self._records: list[Record] = []
        self._answers: dict[str, asyncio.Task[Answer]] = {}
        self._held = False
        self._failure: str | None = None
        self._change = asyncio.Event()

    # ── what a test does to it ───────────────────────────────────────────────────────────────────

    def hold(self) -> None:
        """Loads stop at half their bytes from now on."""
        self._held = True

    def release(self) -> None:
        """Held loads finish."""
        self._held = False
        self._changed()

    def fail_next(self, reason: str) -> None:
        """The next load breaks with `reason`."""
        self._failure = reason

    def set_requests(self, requests: dict[ModelName, RequestFigures]) -> None:
        self.request_figures = requests
        self._changed()

    def set_state(self, state: State) -> None:
        self._state = state
        self._changed()

    def add_notice(self, text: str, level: Literal["info", "warning", "error"] = "warning") -> None:
        self.add_entry(Notice(self.now_s, level, text))

    def add_entry(self, entry: Entry) -> None:
        """Write a line of the journal."""
        self._records.append(Record(len(self._records) + 1, entry))
        self._changed()

    async def until(self, met: Callable[[], bool]) -> None:
        """Waits for a change after which `met` holds."""
        while not met():
            await self._change.wait()

    @property
    def state(self) -> State:
        return self._state

    @property
    def jobs(self) -> tuple[JobView, ...]:
        return tuple(self._jobs.values())

    # ── EngineAPI ────────────────────────────────────────────────────────────────────────────────

    async def hello(self) -> Hello:
        self._check_running()
        return Hello(PROTOCOL, "0.1.0", "scripted", self.pid, START_S, self.config, self.banner)

    async def snapshot(self) -> Snapshot:
        self._check_running()
        quiet = QUIET_SAMPLE_S if self.quiet else None
        budgets = scripted_budgets(self._state)
        figures = self.request_figures
        return Snapshot(self._seq, self.now_s, self._state, self.jobs, budgets, figures, quiet, mono_s=self.mono_s)

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        seen, told = -1, len(self._records) if after is None else after
        while True:
            if seen != self._seq:
                newest = await self.snapshot()
                seen = newest.seq
                yield Updated(newest)
            for record in self._records[told:]:
                told = record.seq
                yield Recorded(record)
            self._check_running()
            if seen == self._seq and told == len(self._records):
                await self._change.wait()

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return tuple(self._records[-limit:]) if limit > 0 else ()

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        return self._planned(renamed(command, self._meant), now=now)

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        """What the real core proposes, planned as this engine would carry it out."""
        self._check_running()
        proposed = propose(self._state, wish, Policy(), self.now_s)
        if isinstance(proposed, Refusal):
            return proposed
        planned = scripted_plan(self._state, proposed.command)
        return replace(proposed, plan=planned) if isinstance(planned, Plan) else planned

    async def submit(self, submission: Submission) -> Answer:
        submission = replace(submission, command=renamed(submission.command, self._meant))
        if submission.id not in self._answers:
            self._answers[submission.id] = asyncio.create_task(self._answer(submission))
        return await asyncio.shield(self._answers[submission.id])

    async def _answer(self, submission: Submission) -> Answer:
        plan = self._planned(submission.command, now=submission.now)
        self.submissions.append(submission)
        if isinstance(plan, Refusal):
            self.add_entry(Refused(submission.id, plan, submission.origin, self.now_s))
            return Declined(plan)
        if submission.confirmed not in (None, plan.effects):
            return Changed(plan)
        before = self._state
        with self._job(submission, plan):
            broken = await self._carry_out(submission.id, plan)
        if broken is not None:
            self._become(before)
        else:
            self._become(remembered(self._state, submission, plan, self.now_s))
        return self._ended(submission, plan, broken)

    async def cancel(self, submission_id: str) -> bool:
        found = self._jobs.pop(submission_id, None) is not None
        self._changed()
        return found

    async def requests(self) -> RequestsUnderWay:
        self._check_running()
        return RequestsUnderWay(self.under_way, len(self.under_way))

    async def cancel_request(self, number: int) -> RequestUnderWay:
        self._check_running()
        for request in self.under_way:
            if request.number == number:
                self.under_way = tuple(other for other in self.under_way if other is not request)
                self.cancelled.append(number)
                return request
        raise BadRequest(f"no request under way has the number {number}: it has ended, or there was none")

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        """Texts become one of two vectors; every token that a model writes is a word; of documents and texts four tokens are
        read, each a word, and the score is the share of these."""
        self._check_task(model, task)
        self.asked.append(task)
        self.askers.append(ASKER.get())
        device = await self._served_on(model)
        match task:
            case Embed(texts=texts, tokens=tokens):
                figures = [(1.0, 0.0, 0.0) if len(row) % 2 else (0.6, 0.8, 0.0) for row in (*texts, *tokens)]
                result: TaskResult = vectors_of(figures)
            case Generate(max_tokens=tokens):
                for number in range(tokens):
                    yield TextPart(0, "word") if number == 0 else TextPart(5 * number - 1, " word")
                result = Continuation(" ".join(["word"] * tokens), tokens, prompt_tokens=1)
            case Rerank(documents=documents, truncate=truncate):
                read = _read(documents, truncate)
                result = Scores(tuple(tokens.kept / 4 for tokens in read), read)
            case Classify(texts=texts, truncate=truncate):
                read = _read(texts, truncate)
                result = LabelScores(("short", "long"), tuple((1 - t.kept / 4, t.kept / 4) for t in read), read)
        yield RunResult(model, device, result, 0.01, self._state.models[model].synthetic)

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None:
        self._check_model(model)
        self._become(set_keep_alive(self._state, model, seconds))

    async def reload(self) -> CatalogChange:
        """What the test has put into `catalog_change`."""
        self._check_running()
        self.reloads += 1
        self._changed()
        if self.catalog_mistake:
            raise EngineError(self.catalog_mistake)
        return self.catalog_change

    async def keep_quiet(self, for_s: float) -> float:
        self._check_running()
        self.quiet = for_s > 0
        self._changed()
        return QUIET_SAMPLE_S

    async def restart_worker(self, device: DeviceId) -> None:
        self._check_running()
        if device not in self._state.devices:
            raise EngineError(f"there is no device {device}; the devices are {', '.join(self._state.devices)}")
        self.restarted.append(device)

    async def stop(self, *, now: bool = False) -> None:
        self.stopped = True
        self.stopped_now = self.stopped_now or now
        self._changed()

    async def close(self) -> None: ...

    # ── how ──────────────────────────────────────────────────────────────────────────────────────

    def _become(self, state: State) -> None:
        self.set_state(measured(state))

    def _changed(self) -> None:
        self._seq += 1
        self.now_s += 0.1
        self._change.set()
        self._change = asyncio.Event()

    def _planned(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        for model in models_of(command):
            self._check_model(model)
        return scripted_plan(self._state, command, now=now)

    def _check_running(self) -> None:
        if self.stopped:
            raise EngineUnreachable("the engine was stopped")

    def _check_model(self, model: ModelName) -> None:
        self._check_running()
        if model not in self._state.models:
            raise UnknownModel(unknown_model(self._specs(), model))

    def _specs(self) -> dict[ModelName, ModelSpec]:
        return {name: known.spec for name, known in self._state.models.items()}

    def _meant(self, name: str) -> ModelName:
        return model_meant(self._specs(), name) or name

    def _check_task(self, model: ModelName, task: Task) -> None:
        self._check_model(model)
        kind = self._state.models[model].spec.task
        if KIND_OF[type(task)] != kind:
            raise Unfit(f"{model} is for {kind}, not for {KIND_OF[type(task)]}")

    @contextlib.contextmanager
    def _job(self, submission: Submission, plan: Plan) -> Iterator[None]:
        self._jobs[submission.id] = JobView(submission.id, submission.command, submission.origin, plan, "copy", 0.1)
        try:
            yield
        finally:
            self._jobs.pop(submission.id, None)

    async def _carry_out(self, job_id: str, plan: Plan) -> Failed | Cancelled | None:
        for step in plan.steps:
            if isinstance(step, LoadStep):
                broken = await self._load(job_id, step)
                if broken is not None:
                    return broken
            self._become(apply_step(self._state, step))
        return None

    async def _load(self, job_id: str, step: LoadStep) -> Failed | Cancelled | None:
        footprint = self._state.models[step.model].footprint
        half_way = Resident(step.model, step.device, "loading", footprint, self.now_s, progress=0.5)
        self._become(replace(self._state, residents=(*self._state.residents, half_way)))
        await self.until(lambda: not self._held or job_id not in self._jobs)
        reason, self._failure = self._failure, None
        if job_id not in self._jobs:
            return Cancelled("taken back")
        return Failed(reason) if reason else None

    def _ended(self, submission: Submission, plan: Plan, broken: Failed | Cancelled | None) -> Answer:
        if not any(isinstance(step, LoadStep | EvictStep) for step in plan.steps):
            if plan.steps:
                self.add_entry(Pinned(submission.id, plan, submission.origin, self.now_s))
            return Done(plan)
        phases = Phases(copy=0.15, bind=0.01, warm=0.04)
        switch = Switch(submission.id, plan, submission.origin, self.now_s, 0.2, phases, tier="ram", floor_s=0.15)
        if broken is not None:
            outcome: Literal["failed", "cancelled"] = "failed" if isinstance(broken, Failed) else "cancelled"
            switch = replace(switch, outcome=outcome, reason=broken.reason)
        self.add_entry(switch)
        return broken or Done(plan, switch)

    async def _served_on(self, model: ModelName) -> DeviceId:
        self._check_model(model)
        if not self._state.of(model):
            await self.submit(Submission(f"request-{self._seq}-{model}", Load(model), "request"))
        return self._state.of(model)[0].device
