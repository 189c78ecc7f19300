"""The engine in this process: `EngineAPI` over one scheduler.

Its loop feeds the scheduler one message at a time and takes what that decides to whoever performs it. Whoever wants something
done posts a message and waits for the answer; what is only looked at is read off the scheduler's state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from engine.api import (
    ASKER,
    Answer,
    BadRequest,
    EngineAPI,
    EngineError,
    EngineUnreachable,
    Event,
    Hello,
    Recorded,
    Snapshot,
    Unfit,
    UnknownModel,
    Updated,
)
from engine.clock import Clock
from engine.core.catalog import CatalogChange
from engine.core.commands import Batch, Command, Submission, fault_of_command, models_of, renamed
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay
from engine.core.ledger import budget
from engine.core.model_names import model_meant, unknown_model
from engine.core.names import DeviceId, ModelName
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.proposing.propose import propose
from engine.core.records import Notice, Record
from engine.core.tasks import KIND_OF, RunEvent, Task, TaskPart, beyond_bounds
from engine.core.texts import in_brief
from engine.recording.residency import ResidencyFile
from engine.runtime.ending import ENDED_BY_OPERATOR, Ending
from engine.runtime.executor import Executor
from engine.runtime.history import History
from engine.runtime.listed_models import CatalogFile, ListedModels
from engine.runtime.recorder import Recorder
from engine.runtime.request_watch import Granted, RequestWatch, RunFacts
from engine.runtime.requests import Runs
from engine.runtime.sampler import QUIET_INTERVAL_S, Rest, Sampler
from engine.runtime.submissions import Submissions
from engine.runtime.workers import Running
from engine.scheduler.board import TICK_S, Instant
from engine.scheduler.effects import (
    AnswerCommand,
    CatalogTaken,
    Deny,
    Effect,
    Grant,
    KeepResidency,
    StartWorker,
    StopRun,
    Write,
)
from engine.scheduler.messages import KeepAlive, KeepQuiet, Message, RestartWorker, Submit, Tick, Withdraw
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.switch import policy_for
from engine.settings.schema import RequestDeadlines

_log: Final = logging.getLogger(__name__)

MakeExecutor: TypeAlias = Callable[[Callable[[Message], None], asyncio.TaskGroup], Executor]
"""Makes the executor, given where to post its reports and the group that its tasks belong to."""

NEWS_INTERVAL_S: Final = 0.25
"""Subscribers get the newest snapshot at most so often."""


class Engine(EngineAPI):
    """One life of an engine, from `start` to `stop`."""

    def __init__(
        self,
        hello: Hello,
        scheduler: Scheduler,
        history: History,
        recorder: Recorder,
        residency: ResidencyFile,
        clock: Clock,
        deadlines: RequestDeadlines,
    ) -> None:
        self._hello: Final = hello
        self._scheduler: Final = scheduler
        self._history: Final = history
        self._recorder: Final = recorder
        self._residency: Final = residency
        self._clock: Final = clock
        self._inbox: Final[asyncio.Queue[Message]] = asyncio.Queue()
        self._submissions: Final = Submissions(scheduler.known)
        self._runs: Final = Runs(self.post, self._run_on_worker, clock, deadlines, scheduler.waits_for)
        self._watch: Final = RequestWatch(clock)
        self._rest: Final = Rest(lambda: scheduler.may_rest(clock.monotonic()))
        self._executor: Executor | None = None
        self._listed: Final = ListedModels(lambda: scheduler.state.models, self.post, self.note, clock)
        self._life: asyncio.Task[None] | None = None
        self._ending: Final = Ending(clock, scheduler.patience.drain_s, self._is_in_use)
        self._stopping: Final = asyncio.Event()
        self._ended = ""
        """Why nothing is answered any more."""
        self._seq = 0
        self._changed = asyncio.Event()
        """Set, and replaced by another, with each change."""
        self._sample_s, self._quiet_sample_s = 1.0, QUIET_INTERVAL_S

    # ── its life ─────────────────────────────────────────────────────────────────────────────────

    def start(self, make_executor: MakeExecutor, sampler: Sampler, catalog: CatalogFile) -> None:
        """Begin to live."""
        self._life = asyncio.create_task(self._live(make_executor, sampler, catalog), name="engine")

    def post(self, message: Message) -> None:
        """Put a message into the loop's inbox."""
        self._inbox.put_nowait(message)

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Write down something that happened without a command."""
        self._history.add(Notice(self._clock.now(), level, text))
        self._wake()

    async def ended(self) -> None:
        """Wait until the engine has ended. Raises what broke it, if something did."""
        if self._life is not None:
            await asyncio.shield(self._life)

    async def stop(self, *, now: bool = False) -> None:
        await self._ending.drained(now=now)
        self._stopping.set()
        await self.ended()

    async def close(self) -> None:
        """In this process the handle is the engine; who lets go of it waits for nothing that still runs."""
        await self.stop(now=True)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

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
            requests={model: told for model, told in self._watch.figures().items() if model in state.models},
            quiet_sample_s=self._quiet_sample_s if self._is_quiet() else None,
            mono_s=self._clock.monotonic(),
            sample_s=self._sample_s,
        )

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        seen = self._history.last_seq if after is None else after
        while True:
            # Taken before the snapshot: a change that comes while a subscriber is slow to read must not be slept through.
            changed = self._changed
            yield Updated(await self.snapshot())
            for record in self._history.after(seen):
                seen = record.seq
                yield Recorded(record)
            await self._clock.sleep(NEWS_INTERVAL_S)
            await changed.wait()

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return self._history.newest(limit)

    async def requests(self) -> RequestsUnderWay:
        return self._watch.under_way()

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        self._refuse_if_ended()
        if fault := fault_of_command(command):
            raise BadRequest(f"{fault}; nothing was planned")
        command = renamed(command, self._meant)
        await self._listed.look_again(models_of(command))
        policy = policy_for("operator", self._scheduler.policy)
        planned = partial(plan, self._scheduler.state, command, policy, self._clock.now(), ending_runs=now)
        # in a thread: a large batch takes longer than the loop may stand still
        return await asyncio.to_thread(planned) if isinstance(command, Batch) else planned()

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        self._refuse_if_ended()
        state, policy = self._scheduler.state, policy_for("operator", self._scheduler.policy)
        # in a thread: the best arrangement of many models takes longer than the loop may stand still
        return await asyncio.to_thread(propose, state, wish, policy, self._clock.now())

    # ── doing ────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, submission: Submission) -> Answer:
        self._refuse_if_closing()
        self._submissions.check(submission)
        submission = replace(submission, command=renamed(submission.command, self._meant))
        await self._listed.look_again(models_of(submission.command))
        answer = self._submissions.ask(submission)
        self.post(Submit(submission))
        return await self._residency.durable(await answer)

    async def cancel(self, submission_id: str) -> bool:
        jobs = self._scheduler.jobs(self._clock.monotonic())
        if not any(job.id == submission_id for job in jobs):
            return False
        self.post(Withdraw(submission_id))
        return True

    def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        model = self._take_request(model, task)
        facts = RunFacts(model, self._clock, self._history, self._scheduler.state)

        def run(number: int, granted: Granted) -> AsyncGenerator[RunEvent, None]:
            is_troubled = bool(self._scheduler.state.models[model].trouble)
            look = partial(self._listed.look_again, (model,)) if is_troubled else None
            return self._runs.run(number, model, task, facts.ended, facts.granted(granted), look)

        return self._watch.follow(model, task, ASKER.get(), run)

    async def cancel_request(self, number: int) -> RequestUnderWay:
        its = self._watch.one_under_way(number)
        if its is None or not self._runs.cancel(number):
            raise BadRequest(f"no request under way has the number {number}: it has ended, or there was none")
        self.note("info", f"the operator cancelled request {number}, of {its.model}, asked by {its.asker.text}")
        return its

    async def restart_worker(self, device: DeviceId) -> None:
        self._refuse_if_closing()
        if (known := self._scheduler.state.devices.get(device)) is None:
            raise BadRequest(
                f"there is no device {in_brief(device)}; the devices are {', '.join(self._scheduler.state.devices)}"
            )
        if (before := known.worker_pid) is None:
            raise EngineError(f"{device} has no worker to restart: {known.reading.reason}; one is being started")
        self.post(RestartWorker(device))
        while self._scheduler.state.devices[device].worker_pid in (before, None):
            self._refuse_if_ended()
            await self._changed.wait()

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None:
        self._refuse_if_ended()
        model = self._meant(model)
        self.post(KeepAlive(model, seconds))

    async def reload(self) -> CatalogChange:
        self._refuse_if_ended()
        return await self._listed.reload()

    async def keep_quiet(self, for_s: float) -> float:
        self._refuse_if_ended()
        self.post(KeepQuiet(for_s))
        return self._quiet_sample_s

    def _take_request(self, name: str, task: Task) -> ModelName:
        """Refuse what can't be served, and record the rest as demand; the model that is meant."""
        self._refuse_if_closing()
        model = self._meant(name)
        spec = self._scheduler.state.models[model].spec
        if spec.task != KIND_OF[type(task)]:
            raise Unfit(f"{model} is for {spec.task}, not for {KIND_OF[type(task)]}")
        if fault := beyond_bounds(task):
            raise Unfit(f"{fault}; nothing was run")
        self._recorder.asked(model, task.work)
        return model

    def _meant(self, name: str) -> ModelName:
        """Raises UnknownModel."""
        specs = {model: known.spec for model, known in self._scheduler.state.models.items()}
        if (model := model_meant(specs, name)) is None:
            raise UnknownModel(unknown_model(specs, name))
        return model

    def _refuse_if_closing(self) -> None:
        self._refuse_if_ended()
        self._ending.refuse_if_begun()

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise EngineUnreachable(self._ended)

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    async def _live(self, make_executor: MakeExecutor, sampler: Sampler, catalog: CatalogFile) -> None:
        """Run until `stop`, then end in order: workers first, the journal last. An exception means a defect; it is logged."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._executor = executor = make_executor(self.post, tasks)
                self._listed.begin(catalog, executor)
                self._sample_s, self._quiet_sample_s = sampler.interval_s, sampler.quiet_interval_s
                writer = tasks.create_task(self._history.write())
                keeping = tasks.create_task(self._residency.run())
                running = [
                    tasks.create_task(self._take_messages()),
                    tasks.create_task(sampler.run(executor.workers, self.post, self._rest)),
                    tasks.create_task(self._watch.renew(self._wake, self._is_quiet)),
                    tasks.create_task(self._listed.watch()),
                    tasks.create_task(executor.watch_page_cache(lambda: not self._is_quiet())),
                ]
                recording = tasks.create_task(self._recorder.run(self._hello, self.snapshot))
                for device in self._scheduler.state.devices:
                    executor.perform(StartWorker(device))
                await self._stopping.wait()
                # Before the workers end, or their deaths would be what requests hear of.
                self._runs.end(EngineUnreachable(ENDED_BY_OPERATOR))
                for task in running:
                    task.cancel()
                await executor.keep_run_rates(self._scheduler.state.models)
                await executor.close()
                await sampler.close()
                await self._recorder.written()
                recording.cancel()
                await self._residency.kept()
                keeping.cancel()
                await self._history.written()
                writer.cancel()
        except* Exception:
            _log.critical("the engine broke; who was resident is kept", exc_info=True)
            self._end("the engine broke and has ended; its log says why")
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
        state, was_waiting = self._scheduler.state, self._scheduler.is_waiting
        before = self._history.last_seq, self._is_quiet()
        for effect in self._scheduler.handle(message, Instant(self._clock.now(), self._clock.monotonic())):
            self._perform(effect)
        self._rest.look_again()
        # By identity: the state is replaced whenever it changes, and comparing all of it after each message would cost more.
        changed = self._scheduler.state is not state or (self._history.last_seq, self._is_quiet()) != before
        if changed or was_waiting or self._scheduler.is_waiting:
            self._wake()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case AnswerCommand(submission_id, answer):
                self._submissions.answered(submission_id, answer)
            case Grant() | Deny() | StopRun():
                self._runs.hear(effect)
            case Write(entry):
                self._history.add(entry)
            case KeepResidency(residency):
                self._residency.put(residency)
            case CatalogTaken(change):
                self._listed.taken(change)
            case _:
                assert self._executor is not None
                self._executor.perform(effect)

    def _run_on_worker(
        self, device: DeviceId, model: ModelName, task: Task, on_part: Callable[[TaskPart], None]
    ) -> Running:
        assert self._executor is not None
        return self._executor.workers.run(device, model, task, on_part)

    def _is_quiet(self) -> bool:
        return self._scheduler.is_quiet(self._clock.monotonic())

    def _is_in_use(self) -> bool:
        return not self._ended and any(resident.leases for resident in self._scheduler.state.residents)

    def _wake(self) -> None:
        self._ending.look_again()
        self._seq += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        self._submissions.end(EngineUnreachable(reason))
        self._runs.end(EngineUnreachable(self._ended))
        self._listed.end(EngineUnreachable(self._ended))
        self._wake()
