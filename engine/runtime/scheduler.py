"""The single writer: takes one message at a time, decides, and returns what is to be done. Synchronous, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, assert_never

from msgspec.structs import replace

from engine.api import Answer, Cancelled, Changed, Declined, Done, Failed
from engine.api import Job as JobView
from engine.core import ledger
from engine.core.changes import remembered
from engine.core.commands import Evict, LeaveCpu, Load, Submission, models_of
from engine.core.copying_back import learned_back
from engine.core.floor import floor_s, from_disk
from engine.core.models import whole_pages
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planner import plan
from engine.core.plans import PinStep, Plan, UnpinStep
from engine.core.policy import Policy
from engine.core.ramtier import slabs_to_drop
from engine.core.rates import learned
from engine.core.records import Pinned, Refused, Residency, Switch
from engine.core.returning import worth_returning
from engine.core.run_peaks import RunPeaks
from engine.core.state import Slab, State
from engine.runtime.board import Board, Instant, Patience
from engine.runtime.desk import LeaseDesk
from engine.runtime.effects import DropSlab, Effect, Reply, Write
from engine.runtime.flow import carry_out, policy_for
from engine.runtime.health import DeviceHealth
from engine.runtime.jobs import Job, PhaseClock
from engine.runtime.learning import FootprintLearning
from engine.runtime.messages import (
    Ask,
    BindFailed,
    DeviceRead,
    Message,
    ModelBound,
    ModelReleased,
    Ran,
    RanShort,
    Return,
    SlabAdvanced,
    SlabFailed,
    SlabNotReturned,
    SlabOpened,
    SlabRead,
    SlabReturned,
    SlabVerified,
    Submit,
    Tick,
    Withdraw,
    WorkerDown,
    WorkerUp,
    context_of,
)
from engine.runtime.outcomes import Broken, NotAllowed, PlanChanged, Withdrawn
from engine.runtime.readahead import Readahead
from engine.runtime.thrash_watch import ThrashWatch
from engine.runtime.verifying import Verifying

REMEMBERED_ANSWERS: Final = 1000


class Scheduler:
    """`handle` is the only way in. Between two calls every resident, job and lease is where it says it is."""

    def __init__(self, state: State, policy: Policy, patience: Patience) -> None:
        self._board = Board(state, policy, patience)
        self._desk = LeaseDesk(self._board)
        self._health = DeviceHealth(self._board)
        self._learning = FootprintLearning(self._board)
        self._readahead = Readahead(self._board)
        self._verifying = Verifying(self._board)
        self._thrash = ThrashWatch(self._board)
        self._jobs: dict[str, Job] = {}
        self._answers: dict[str, Answer] = {}
        self._submitted = 0
        self._residency = _residency(state)

    @property
    def state(self) -> State:
        return self._board.state

    @property
    def policy(self) -> Policy:
        return self._board.policy

    def expect_back(self, residents: Iterable[tuple[ModelName, DeviceId]]) -> None:
        """Who was resident before a restart: each is loaded again when its device is there."""
        self._health.expect_back(residents)

    def recall(self, peaks: Mapping[tuple[ModelName, str], RunPeaks]) -> None:
        """What runs took before a restart, by model and kind of device."""
        self._learning.recall(peaks)

    def jobs(self, mono_s: float) -> tuple[JobView, ...]:
        """What is under way."""
        return tuple(job.view(mono_s) for job in self._jobs.values())

    @property
    def is_waiting(self) -> bool:
        """Whether a deadline may pass: then a Tick is wanted now and then."""
        return bool(self._jobs)

    def handle(self, message: Message, now: Instant) -> list[Effect]:
        """Take one message in; what to do because of it, in order."""
        self._board.now = now
        self._board.effects = []
        self._take(message)
        self._take_off_damaged()
        self._run()
        self._trim_ram_tier()
        self._readahead.consider(len(self._jobs))
        self._verifying.consider(len(self._jobs))
        self._note_residency()
        return self._board.effects

    def _take(self, message: Message) -> None:
        board = self._board
        match message:
            case Submit(submission):
                self._submit(submission)
            case Withdraw(submission_id):
                if job := self._jobs.get(submission_id):
                    job.withdrawn = "it was taken back"
            case Ask(lease, model):
                self._desk.ask(lease, model)
                self._bring_back(model)
            case Return(lease):
                self._desk.give_back(lease)
            case Ran(model, device, workspace_bytes, filled):
                self._learning.ran(model, device, workspace_bytes, filled)
            case RanShort(model, device):
                self._ran_short(model, device)
            case SlabAdvanced(model, done):
                self._advance(model, done)
            case SlabOpened(model, _, size_bytes):
                self._measured(model, size_bytes)
                board.state = ledger.put_slab(board.state, Slab(model, size_bytes, "filling", board.now.wall_s))
            case SlabRead():
                self._slab_read(message)
            case SlabFailed(model, kind):
                board.state = ledger.drop_slab(board.state, model)
                self._readahead.failed(model, for_good=kind != "stopped")
                if kind != "stopped" and any(r.stage in ("pending", "loading") for r in board.state.of(model)):
                    board.slab_failures[model] = message
            case SlabReturned():
                self._slab_returned(message)
            case SlabNotReturned(model):
                board.state = ledger.drop_slab(board.state, model)
            case SlabVerified():
                self._verifying.found(message, len(self._jobs))
            case ModelBound(model, device, bound):
                board.bind_reports[model] = message
                self._health.used(device, bound.used_bytes, context_of(bound.card))
            case BindFailed(model, device, kind, reason):
                board.bind_reports[model] = message
                if kind == "unusable":
                    self._health.unusable(device, reason)
            case ModelReleased(model, device, leaked_bytes, used_bytes, context_bytes):
                self._health.used(device, used_bytes, context_bytes)
                if board.state.find(model, device):
                    board.state = ledger.release_bytes(board.state, model, device, leaked_bytes)
            case WorkerUp(device, pid):
                lost = self._health.worker_up(device, pid)
                self._submit_all(Load(model, device) for model in lost)
            case WorkerDown(device, reason):
                self._health.worker_down(device, reason)
                self._desk.worker_died(device)
            case DeviceRead(device, reading):
                self._health.read(device, reading)
            case Tick():
                pass
            case _:
                assert_never(message)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def _submit(self, submission: Submission) -> None:
        if answer := self._answers.get(submission.id):
            self._board.emit(Reply(submission.id, answer))
        elif submission.id not in self._jobs:
            now = self._board.now
            job = Job(submission, now.wall_s, PhaseClock(now.mono_s))
            job.flow = carry_out(self._board, job)
            self._jobs[submission.id] = job

    def _submit_all(self, loads: Iterable[Load]) -> None:
        for load in loads:
            self._submitted += 1
            self._submit(Submission(f"restore-{self._submitted}", load, "restore"))

    def _want(self, model: ModelName) -> None:
        """A request needs the model: load it, unless that is under way or forbidden."""
        if not self._board.policy.dynamic_loading:
            self._desk.deny(model, f"{model} is not ready and DYNAMIC_LOADING_ENABLED is off; load it first")
        elif not any(job.submission.command == Load(model) for job in self._jobs.values()):
            self._submitted += 1
            self._submit(Submission(f"request-{self._submitted}", Load(model), "request"))

    def _bring_back(self, model: ModelName) -> None:
        """A request is for a model that fell back to the CPU, which answers it: let it return to a GPU, if one would take it."""
        board, command = self._board, LeaveCpu(model)
        fell_back = [r.device for r in board.state.of(model)] == [CPU] and board.state.models[model].pin is None
        under_way = any(job.submission.command == command for job in self._jobs.values())
        if not fell_back or under_way or not board.policy.dynamic_loading:
            return
        policy = policy_for("request", board.policy)
        found = plan(board.state, command, policy, board.now.wall_s)
        if isinstance(found, Plan) and worth_returning(board.state, found, policy, board.now.wall_s):
            self._submitted += 1
            self._submit(Submission(f"return-{self._submitted}", command, "request"))

    def _run(self) -> None:
        """Serve leases and resume jobs until nothing moves any more."""
        while True:
            state, jobs = self._board.state, list(self._jobs)
            self._desk.serve(self._want)
            for job in list(self._jobs.values()):
                self._resume(job)
            if self._board.state is state and list(self._jobs) == jobs:
                return

    def _resume(self, job: Job) -> None:
        assert job.flow is not None
        try:
            phase = next(job.flow)
        except StopIteration:
            self._end(job, "done")
        except NotAllowed as ending:
            self._board.emit(
                Write(Refused(job.submission.id, ending.refusal, job.submission.origin, self._board.now.wall_s))
            )
            self._answer(job, Declined(ending.refusal), ending.refusal.reason)
            self._restore_victims(job)
        except PlanChanged as ending:
            self._answer(job, Changed(ending.plan), "the plan changed")
            self._restore_victims(job)
        except Withdrawn as ending:
            self._end(job, "cancelled", ending.reason)
        except Broken as ending:
            self._end(job, "failed", ending.reason)
            self._restore_victims(job)
        else:
            if phase != job.clock.phase:
                job.clock.enter(phase, self._board.now.mono_s)

    def _end(self, job: Job, outcome: Literal["done", "failed", "cancelled"], reason: str = "") -> None:
        """The flow has ended, well or not: one record, one answer."""
        now = self._board.now
        job.clock.enter(job.clock.phase, now.mono_s)
        switch = self._record(job, outcome, reason)
        match outcome:
            case "done":
                assert job.plan is not None
                self._board.state = remembered(self._board.state, job.submission, job.plan, now.wall_s)
                self._answer(job, Done(job.plan, switch), "")
            case "failed":
                self._answer(job, Failed(reason), reason)
            case "cancelled":
                self._answer(job, Cancelled(reason), reason)

    def _record(self, job: Job, outcome: Literal["done", "failed", "cancelled"], reason: str) -> Switch | None:
        """Write down a plan that moved something, or pins that changed; nothing for a plan without steps."""
        plan, sub, now = job.plan, job.submission, self._board.now
        if plan is None or not plan.steps:
            return None
        if all(isinstance(s, PinStep | UnpinStep) for s in plan.steps):
            self._board.emit(Write(Pinned(sub.id, plan, sub.origin, now.wall_s)))
            return None
        phases, total_s = job.clock.phases(), job.clock.elapsed_s(now.mono_s)
        read = [self._board.reading_s.get(load.model, 0.0) for load in from_disk(plan.loads, job.tier)]
        switch = Switch(
            sub.id, plan, sub.origin, job.arrived_s, total_s, phases, outcome, reason, job.tier, sum(read) or None
        )
        self._board.state = learned(self._board.state, switch)
        switch = replace(switch, floor_s=floor_s(self._board.state, switch))
        self._board.emit(Write(switch))
        self._thrash.switched(switch)
        return switch

    def _answer(self, job: Job, answer: Answer, reason: str) -> None:
        del self._jobs[job.submission.id]
        self._answers[job.submission.id] = answer
        if len(self._answers) > REMEMBERED_ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._board.emit(Reply(job.submission.id, answer))
        if not isinstance(answer, Done) and job.submission.origin == "request":
            for model in models_of(job.submission.command):
                self._desk.deny(model, reason)

    def _restore_victims(self, job: Job) -> None:
        """A plan that failed leaves the state it would have had without it: its victims come back."""
        gone = [v for v in job.evicted if not self._board.state.of(v.model)]
        self._submit_all(Load(v.model, v.device) for v in gone)

    def _ran_short(self, model: ModelName, device: DeviceId) -> None:
        """Charge the model more and take it off the device: placed anew, it finds a victim, another device or the CPU.

        A pinned model stays; its request fails with the figures.
        """
        self._learning.ran_short(model, device)
        if self.state.find(model, device) and self.state.models[model].pin is None:
            self._submitted += 1
            self._submit(Submission(f"short-{self._submitted}", Evict(model), "request"))

    def _take_off_damaged(self) -> None:
        """Whoever runs on the bytes of a damaged slab leaves once its leases have ended; requests wait for it to come anew."""
        self._verifying.drop_damaged()
        for model in self._verifying.to_take_off():
            if not any(job.submission.command == Evict(model) for job in self._jobs.values()):
                self._submitted += 1
                leaving = Submission(f"damaged-{self._submitted}", Evict(model), "request")
                self._submit(leaving)
                self._jobs[leaving.id].insists = True

    # ── reports ──────────────────────────────────────────────────────────────────────────────────

    def _advance(self, model: ModelName, done: float) -> None:
        for resident in self._board.state.of(model):
            self._board.state = ledger.advance(self._board.state, model, resident.device, done)

    def _measured(self, model: ModelName, size_bytes: int) -> None:
        """The slab tells the weights' true size."""
        board = self._board
        known = board.state.models[model]
        label: Literal["measured", "learned"] = "learned" if known.footprint.label == "learned" else "measured"
        footprint = whole_pages(replace(known.footprint, weights_bytes=size_bytes, label=label))
        known = replace(known, prepared=True, footprint=footprint)
        board.state = replace(board.state, models={**board.state.models, model: known})

    def _slab_read(self, report: SlabRead) -> None:
        board = self._board
        self._readahead.ended(report.model)
        since_s = board.reading_since_s.pop(report.model, board.now.mono_s)
        if report.tier == "source":
            board.reading_s.pop(report.model, None)  # what it took to prepare it can't be told from that
            self._verifying.prepared_anew(report.model)
        else:
            board.reading_s[report.model] = board.now.mono_s - since_s
        self._measured(report.model, report.size_bytes)
        board.state = ledger.put_slab(board.state, Slab(report.model, report.size_bytes, "kept", board.now.wall_s))

    def _slab_returned(self, report: SlabReturned) -> None:
        state = ledger.put_slab(self.state, Slab(report.model, report.size_bytes, "kept", self._board.now.wall_s))
        self._board.state = learned_back(state, report.device, report.size_bytes, report.copy_s)

    # ── after every message ──────────────────────────────────────────────────────────────────────

    def _trim_ram_tier(self) -> None:
        for model in slabs_to_drop(self._board.state, self._board.policy, self._board.now.wall_s):
            self._board.state = ledger.drop_slab(self._board.state, model)
            self._board.emit(DropSlab(model))

    def _note_residency(self) -> None:
        """Write down who is resident and pinned whenever that has changed, for a restart to restore."""
        residency = _residency(self._board.state)
        restoring = self._health.restoring or any(j.submission.origin == "restore" for j in self._jobs.values())
        if residency != self._residency and not restoring:
            self._residency = residency
            self._board.emit(Write(Residency(self._board.now.wall_s, *residency)))


def _residency(state: State) -> tuple[tuple[tuple[ModelName, DeviceId], ...], dict[ModelName, DeviceId | None]]:
    ready = tuple((r.model, r.device) for r in state.residents if r.stage in ("ready", "draining"))
    pins = {name: known.pin.device for name, known in state.models.items() if known.pin is not None}
    return ready, pins
