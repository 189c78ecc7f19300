"""A command under way: its plan, the phase it is in, and how long each phase took."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

from msgspec import Struct

from engine.api import JobView
from engine.core.commands import Submission
from engine.core.names import DeviceId
from engine.core.plans import EvictStep, Plan, Refusal, Tier
from engine.core.records import PhaseName, Phases


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


class Withdrawn(Exception):
    """The command was taken back, or overtaken by a request."""

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


Flow: TypeAlias = Generator[PhaseName, None, None]
"""Yields the phase that it waits in; resumed after every message."""


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
    tier: Tier | None = None
    """Where its load really started from."""
    evicted: tuple[EvictStep, ...] = ()
    """Victims so far, to bring back when it comes to nothing."""
    mishap: str = ""
    """What went wrong on the way without ending it, such as a worker that had to be started again."""
    insists: bool = False
    """Whether it has waited so long that residents in use make room for it."""
    flow: Flow | None = None

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


def stop_if_withdrawn(job: Job) -> None:
    """Raises Withdrawn when the job has been taken back."""
    if job.withdrawn:
        raise Withdrawn(job.withdrawn)
