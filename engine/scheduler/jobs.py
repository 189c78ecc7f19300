"""A command under way: its plan, the phase it is in, how long each phase took, and how it can end other than well."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

from msgspec import Struct

from engine.api import JobView
from engine.core.commands import Submission
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, Plan, Refusal, Tier
from engine.core.records import PhaseName, Phases
from engine.scheduler.messages import LoadReport, SlabFailed

Flow: TypeAlias = Generator[PhaseName, LoadReport | None, None]
"""Yields the phase that it waits in; resumed after every message, and given it when it is a report on the job's load."""


class Job(Struct, eq=False):
    """A submission that has not ended."""

    submission: Submission
    arrived_s: float
    """Wall clock."""
    clock: PhaseClock
    plan: Plan | None = None
    waiting_for: str = ""
    withdrawn: str = ""
    """Why it is to be given up, once somebody said so."""
    incoming: Incoming | None = None
    """The load that it carries out now; reports on that go into its flow."""
    tier: Tier | None = None
    """Where its load really started from."""
    evicted: tuple[EvictStep, ...] = ()
    """Victims so far, to bring back when it comes to nothing."""
    mishap: str = ""
    """What went wrong on the way without ending it, such as a worker that had to be started again."""
    drains: frozenset[tuple[ModelName, DeviceId]] = frozenset()
    """Whom it was the one to send away, and so may call back."""
    ends_runs_on: tuple[EvictStep, ...] = ()
    """Whose runs are in its way now, and are to be ended."""
    insists: bool = False
    """Whether it has waited so long that residents in use make room for it."""
    flow: Flow | None = None

    def awaits(self, report: LoadReport) -> bool:
        """Whether the report is on the load that it carries out now. One that nobody awaits any more has come too late."""
        return self.incoming is not None and self.incoming.model == report.model

    def stop_if_withdrawn(self) -> None:
        """Raises Withdrawn when somebody has taken the job back."""
        if self.withdrawn:
            raise Withdrawn(self.withdrawn)

    def view(self, mono_s: float) -> JobView:
        """The job as screens show it."""
        return JobView(
            id=self.submission.id,
            command=self.submission.command,
            origin=self.submission.origin,
            plan=self.plan,
            phase=self.clock.phase,
            elapsed_s=self.clock.elapsed_s(mono_s),
            waiting_for=self.waiting_for,
        )


class Incoming:
    """A model on its way to a device, from the claim on its room to its arrival. At most one load of a model is under way, so
    the model's name tells whose report it is."""

    def __init__(self, model: ModelName, device: DeviceId) -> None:
        self.model = model
        self.device = device
        self._failure: SlabFailed | None = None

    def hear(self, report: LoadReport | None) -> None:
        """Remember that the slab's reading has failed, until the load gets to where it needs the slab: the reading begins while
        victims still leave, and so may its end come. One that was stopped has not failed."""
        if isinstance(report, SlabFailed) and report.kind != "stopped":
            self._failure = report

    def beside(self, flow: Flow) -> Flow:
        """Go through `flow`, which is about others, and hear what is reported meanwhile."""
        for phase in flow:
            self.hear((yield phase))

    def take_failure(self) -> SlabFailed | None:
        """How the reading failed, if it did; told once, so that a further attempt reads again."""
        failure, self._failure = self._failure, None
        return failure


class PhaseClock:
    """Splits the time from a command's arrival to its end into phases that sum to the total."""

    def __init__(self, mono_s: float) -> None:
        self._began_s = self._entered_s = mono_s
        self._seconds: dict[PhaseName, float] = {}
        self.phase: PhaseName = "queue"

    def enter(self, phase: PhaseName, mono_s: float) -> None:
        """From now on time counts as `phase`."""
        self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + mono_s - self._entered_s
        self._entered_s = mono_s
        self.phase = phase

    def reassign(self, source: PhaseName, target: PhaseName, seconds: float) -> None:
        """Count `seconds` of `source` as `target`, as far as there are so many."""
        moved = max(0.0, min(seconds, self._seconds.get(source, 0.0)))
        self._seconds[source] = self._seconds.get(source, 0.0) - moved
        self._seconds[target] = self._seconds.get(target, 0.0) + moved

    def spent_s(self, phase: PhaseName) -> float:
        """What `phase` has taken up to the last `enter`."""
        return self._seconds.get(phase, 0.0)

    def elapsed_s(self, mono_s: float) -> float:
        return mono_s - self._began_s

    def phases(self) -> Phases:
        return Phases(**self._seconds)


# ── endings, raised by flows ─────────────────────────────────────────────────────────────────────


class Broken(Exception):
    """A step failed."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        """Whether trying again may help."""


class NoRoom(Broken):
    """The device refused what the ledger had room for: somebody took memory that no reading has shown yet, or it can't run
    models at all."""

    def __init__(self, reason: str, device: DeviceId, size_bytes: int) -> None:
        super().__init__(reason)
        self.device = device
        self.size_bytes = size_bytes
        """What it refused."""


class Overtaken(Exception):
    """The room that a plan counted on will not come, since somebody stays after all; there may be another plan."""


class Withdrawn(Exception):
    """The command was taken back, or overtaken by whoever wants the model to stay."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotAllowed(Exception):
    """There is no plan, and waiting longer is not the answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class PlanChanged(Exception):
    """The plan is not the one that was confirmed."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.effects)
        self.plan = plan
