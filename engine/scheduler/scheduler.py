"""The single writer: takes one message at a time, decides, and returns what is to be done. Synchronous, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, assert_never

from msgspec.structs import replace

from engine.api import Answer, Cancelled, Changed, Declined, Done, Failed, JobView
from engine.core import ledger
from engine.core.commands import Load, Submission, command_text, models_of
from engine.core.forecast.footprints import RunPeaks
from engine.core.names import DeviceId, ModelName
from engine.core.planning.ram_tier import within_host
from engine.core.policy import Policy
from engine.core.proposing.undo import remembered
from engine.core.state import ModelState, State
from engine.scheduler.board import Board, Instant, Patience
from engine.scheduler.catalog import ListedModels
from engine.scheduler.commands import Commands
from engine.scheduler.device_health import DeviceHealth
from engine.scheduler.effects import Deny, Effect
from engine.scheduler.footprint_learning import FootprintLearning
from engine.scheduler.jobs import Broken, Job, NotAllowed, PlanChanged, Withdrawn
from engine.scheduler.journaling import JobRecords, ReadingTimes, ResidencyNotes, ThrashWatch
from engine.scheduler.leases import Leases
from engine.scheduler.messages import (
    BindFailed,
    CatalogRead,
    DeviceRead,
    DeviceReport,
    HostRead,
    KeepAlive,
    KeepQuiet,
    LeaseAsked,
    LeaseEnded,
    LoadReport,
    Message,
    ModelBound,
    ModelMended,
    ModelReleased,
    PageCacheSeen,
    RestartWorker,
    RunMeasured,
    RunOutOfMemory,
    SignOfLife,
    SlabAdvanced,
    SlabCame,
    SlabFailed,
    SlabNotWrittenBack,
    SlabOpened,
    SlabRead,
    SlabReport,
    SlabVerified,
    SlabWrittenBack,
    Submit,
    Tick,
    Withdraw,
    WorkerDown,
    WorkerUp,
    context_of,
)
from engine.scheduler.ram_tier import Slabs
from engine.scheduler.self_issued import SelfIssued

LONGEST_QUIET_S: Final = 60.0
"""Whoever measures asks again in time, or has gone."""


class Scheduler:
    """`handle` is the only way in. Between two calls every resident, job and lease is where it says it is."""

    def __init__(self, state: State, policy: Policy, patience: Patience) -> None:
        self._board = board = Board(state, policy, patience)
        self._leases = Leases(board)
        self._commands = Commands(board)
        self._slabs = Slabs(board)
        self._health = DeviceHealth(board)
        self._learning = FootprintLearning(board)
        self._catalog = ListedModels(board, self._commands, self._slabs, self._learning)
        self._own = SelfIssued(board, self._commands, self._leases)
        self._readings = ReadingTimes(board)
        self._thrash = ThrashWatch(board)
        records = JobRecords(board, self._readings, self._thrash)
        self._flows = Flows(board, self._commands, self._leases, self._own, records)
        self._residency = ResidencyNotes(board)

    @property
    def state(self) -> State:
        return self._board.state

    @property
    def policy(self) -> Policy:
        return self._board.policy

    @property
    def patience(self) -> Patience:
        return self._board.patience

    def expect_back(self, residents: Iterable[tuple[ModelName, DeviceId]]) -> None:
        """Who was resident before a restart: each is loaded again when its device is there."""
        self._health.expect_back(residents)

    def recall(self, peaks: Mapping[tuple[ModelName, str], RunPeaks]) -> None:
        """What runs took before a restart, by model and kind of device."""
        self._learning.recall(peaks)

    def known(self, submission_id: str) -> Submission | None:
        """What was submitted under that id, as far as it is remembered."""
        return self._commands.known(submission_id)

    def jobs(self, mono_s: float) -> tuple[JobView, ...]:
        """What is under way."""
        return tuple(job.view(mono_s) for job in self._commands.jobs)

    def waits_for(self, model: ModelName) -> str:
        """What a request for the model waits for that has no lease yet, in words."""
        if coming := next((r for r in self.state.of(model) if r.stage in ("pending", "loading")), None):
            doing = "was being loaded to" if coming.stage == "loading" else "waited for room on"
            return f"it waited for the model, which {doing} {coming.device}"
        wanted = (
            job.waiting_for
            for job in self.jobs(self._board.now.mono_s)
            if model in models_of(job.command) and job.waiting_for
        )
        return f"it waited for a place for the model ({next(wanted, 'there was none')})"

    @property
    def is_waiting(self) -> bool:
        """Whether a deadline may pass: then a Tick is wanted now and then."""
        return bool(self._commands.jobs)

    def is_quiet(self, mono_s: float) -> bool:
        """Whether somebody measures, and has asked for quiet."""
        return mono_s < self._board.quiet_until_s

    def may_rest(self, mono_s: float) -> bool:
        """Whether it is quiet, and nothing depends on the next readings: no command waits for room, and every device is well."""
        waiting = any(job.clock.phase in ("queue", "settle") for job in self._commands.jobs)
        well = all(device.reading.health == "ok" for device in self.state.devices.values())
        return self.is_quiet(mono_s) and well and not waiting

    def handle(self, message: Message, now: Instant) -> list[Effect]:
        """Take one message in; what to do because of it, in order."""
        before, self._board.now = self._board.now, now
        if now.wall_s < before.wall_s:
            # Else what came a moment ago would stay young, and what is idle in use, until it is that late again.
            self._board.apply(ledger.set_clock_back, before.wall_s - now.wall_s + now.mono_s - before.mono_s)
        self._board.effects = []
        self._take(message)
        self._own.take_off(self._slabs.drop_damaged())
        if isinstance(message, DeviceRead | KeepAlive):  # devices are read each second, so that what is due is seen
            self._own.let_idle_go()
            self._thrash.look_for_ends()
        self._go_on(message if isinstance(message, LoadReport) else None)
        self._catalog.settle()
        # Last: whether there is time for idle work shows only once all that has to go on has gone on.
        jobs = self._commands.jobs
        self._slabs.settle(len(jobs), {job.incoming.model for job in jobs if job.incoming is not None})
        self._residency.consider(self._coming_back())
        self._readings.asked(self._board.effects)
        return self._board.effects

    def _take(self, message: Message) -> None:
        match message:
            case Submit(submission):
                if submission.origin == "operator":
                    self._health.try_again()
                self._commands.submit(submission)
            case Withdraw(submission_id):
                self._commands.withdraw(submission_id)
            case LeaseAsked(lease, model) if model not in self.state.models:
                self._board.emit(Deny(lease, f"{model} was taken out of the catalog before its turn came"))
            case RunMeasured() | RunOutOfMemory() | KeepAlive() if message.model not in self.state.models:
                pass  # of a run that its worker's death had ended, after which the model went
            case LeaseAsked(lease, model, work, again):
                self._leases.ask(lease, model, work, again=again)
                self._own.bring_back(model)
                self._own.bring_more(model)
            case LeaseEnded(lease, device_s):
                if unwanted := self._leases.give_back(lease, device_s):
                    self._own.take_back(unwanted)
            case RunMeasured(model, device, workspace_bytes, filled):
                self._learning.ran(model, device, workspace_bytes, filled)
            case RunOutOfMemory(model, device):
                self._learning.ran_short(model, device)
                self._own.place_anew(model, device)
            case (
                SlabOpened()
                | SlabAdvanced()
                | SlabRead()
                | SlabFailed()
                | SlabWrittenBack()
                | SlabNotWrittenBack()
                | SlabVerified()
            ):
                self._take_slab_report(message)
            case (
                ModelBound() | BindFailed() | ModelReleased() | WorkerUp() | WorkerDown() | SignOfLife() | DeviceRead()
            ):
                self._take_device_report(message)
            case HostRead(left_bytes):
                self._board.apply(within_host, left_bytes)
            case RestartWorker(device):
                self._health.restart(device)
            case PageCacheSeen(models):
                self._board.apply(_seen_in_page_cache, models)
            case KeepAlive(model, seconds):
                self._board.apply(ledger.set_keep_alive, model, seconds)
            case KeepQuiet(for_s):
                self._board.quiet_until_s = self._board.now.mono_s + min(for_s, LONGEST_QUIET_S)
            case ModelMended(known):
                self._mend(known)
            case SlabCame(model):
                self._slab_came(model)
            case CatalogRead():
                self._catalog.read(message)
            case Tick():
                pass
            case _:
                assert_never(message)

    def _mend(self, known: ModelState) -> None:
        if before := self.state.models.get(known.spec.name):
            kept = replace(known, pin=before.pin, demand=before.demand, run_rates=before.run_rates)
            self._board.know_model(replace(kept, queueing=before.queueing, keep_alive_s=before.keep_alive_s))

    def _slab_came(self, model: ModelName) -> None:
        if known := self.state.models.get(model):
            self._board.know_model(replace(known, prepared=True))

    def _take_slab_report(self, report: SlabReport) -> None:
        if isinstance(report, SlabRead):
            self._readings.ended(report)
        self._slabs.take(report, len(self._commands.jobs))

    def _take_device_report(self, report: DeviceReport) -> None:
        board = self._board
        match report:
            case ModelBound(_, device, bound):
                self._health.works(device)
                self._health.used(device, bound.used_bytes, context_of(bound.card))
            case BindFailed(model, device, kind, reason):
                if kind == "unusable":
                    self._health.unusable(device, reason)
                elif kind == "unsupported":
                    self._health.unsupported(device, reason)
                elif kind == "replaced":
                    self._slabs.replaced(model)
            case ModelReleased(model, device, leaked_bytes, used_bytes, context_bytes):
                self._health.used(device, used_bytes, context_bytes)
                if board.state.find(model, device):  # else its worker has died since, and all that it held with it
                    board.apply(ledger.release_bytes, model, device, leaked_bytes)
            case WorkerUp(device, pid):
                self._own.restore(self._health.worker_up(device, pid))
            case WorkerDown(device, reason):
                self._health.worker_down(device, reason)
                self._leases.worker_died(device)
            case SignOfLife():
                self._health.heard(report)
            case DeviceRead(device, reading):
                self._own.restore(self._health.read(device, reading))
            case _:
                assert_never(report)

    def _go_on(self, report: LoadReport | None) -> None:
        """Serve leases and resume jobs until nothing moves any more: what one job gives up is what another waits for, and a lease
        that is granted may keep a model from leaving. `report` goes into the flow that awaits it."""
        while True:
            state, jobs = self._board.state, self._commands.jobs
            # Leases first: a request that can be answered at once comes before the job that would take its model away.
            self._leases.serve(self._bring)
            for job in jobs:
                before = self._board.state
                self._flows.resume(job, report if report is not None and job.awaits(report) else None)
                # After each: the model that one job has brought is free to leave until the requests that wait for it have their
                # leases, and the next job would take its place. Two models without a minimum residency would then swap for ever.
                if self._board.state is not before:
                    self._leases.serve(self._bring)
            report = None
            # By identity: a state that has changed is another object, and comparing all of it each time would cost more.
            if self._board.state is state and self._commands.jobs == jobs:
                return

    def _bring(self, model: ModelName) -> None:
        """A request needs the model. One that comes back by itself in a moment is to drive nobody out elsewhere."""
        if not self._health.comes_back(model):
            self._own.bring(model)

    def _coming_back(self) -> list[tuple[ModelName, DeviceId]]:
        """Residents of before a restart, a death or a plan that failed that have yet to come back."""
        loads = (job.submission.command for job in self._commands.jobs if job.submission.origin == "restore")
        under_way = [(load.model, load.device) for load in loads if isinstance(load, Load) and load.device is not None]
        return [*self._health.coming_back, *under_way]


def _seen_in_page_cache(state: State, cached: frozenset[ModelName]) -> State:
    changed = {
        name: replace(known, in_page_cache=name in cached)
        for name, known in state.models.items()
        if known.in_page_cache != (name in cached)
    }
    return replace(state, models={**state.models, **changed}) if changed else state


class Flows:
    """Resumes jobs, and knows every way in which their flows can end: each leaves one record, one answer and, should it have
    come to nothing, the state that it found."""

    def __init__(self, board: Board, commands: Commands, leases: Leases, own: SelfIssued, records: JobRecords) -> None:
        self._board = board
        self._commands = commands
        self._leases = leases
        self._own = own
        self._records = records

    def resume(self, job: Job, report: LoadReport | None) -> None:
        """Let the job go on until it waits again, or has ended; with the report that its load waits for, if it has come."""
        assert job.flow is not None
        try:
            phase = job.flow.send(report)
        except StopIteration:
            self._done(job)
        except NotAllowed as ending:
            self._records.refused(job, ending.refusal)
            self._answer(job, Declined(ending.refusal), ending.refusal.reason)
            self._restore_victims(job)
        except PlanChanged as ending:
            self._answer(job, Changed(ending.plan), "the plan changed")
            self._restore_victims(job)
        except Withdrawn as ending:
            self._stop_clock(job)
            self._records.ended(job, "cancelled", ending.reason)
            self._answer(job, Cancelled(ending.reason), ending.reason)
        except Broken as ending:
            self._stop_clock(job)
            self._records.ended(job, "failed", ending.reason)
            self._answer(job, Failed(ending.reason), ending.reason)
            self._restore_victims(job)
        else:
            for step in job.ends_runs_on:
                self._leases.stop(step.model, step.device, self._why_ended(job, step.model))
            if phase != job.clock.phase:
                job.clock.enter(phase, self._board.now.mono_s)

    def _why_ended(self, job: Job, model: ModelName) -> str:
        """What is said to whoever waits for a run of the model that is in the way of the job."""
        assert job.plan is not None
        comes = next((load.device for load in job.plan.loads if load.model == model), None)
        loads = "a request brings it back" if self._board.policy.dynamic_loading else "load it to ask it again"
        comes_back = f"ask again, it comes to {comes}" if comes else loads
        what = command_text(job.submission.command)
        return f"the run of {model} was ended by the operator: {what} --now; nothing else was lost, {comes_back}"

    def _done(self, job: Job) -> None:
        assert job.plan is not None
        self._stop_clock(job)
        switch = self._records.ended(job, "done", job.mishap)
        self._board.apply(remembered, job.submission, job.plan, self._board.now.wall_s)
        self._commands.answer(job, Done(job.plan, switch))

    def _stop_clock(self, job: Job) -> None:
        """Count the time up to now as the job's last phase."""
        job.clock.enter(job.clock.phase, self._board.now.mono_s)

    def _answer(self, job: Job, answer: Answer, reason: str) -> None:
        """The job has come to nothing; no request need wait for what it would have brought.

        Requests have no job each: those for one model share the one that the first of them set off. So its end is the end for all
        of them, or the next turn would find them waiting and set off the same once more, without end. The end of somebody else's
        job says nothing about them: they get a load of their own, which may end better.
        """
        self._commands.answer(job, answer)
        if job.submission.origin == "request":
            for model in models_of(job.submission.command):
                self._leases.deny(model, reason)

    def _restore_victims(self, job: Job) -> None:
        """A plan that failed leaves the state it would have had without it: its victims come back."""
        state = self._board.state
        self._own.restore(
            Load(v.model, v.device, also=bool(v.stays))
            for v in job.evicted
            if state.find(v.model, v.device) is None and {r.device for r in state.of(v.model)} <= set(v.stays)
        )
