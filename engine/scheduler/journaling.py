"""What is written down of jobs that have ended, and what their switches teach: rates, floors, and who displaces whom."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.floor import floor_s, from_disk
from engine.core.plans import PinStep, Refusal, UnpinStep
from engine.core.forecast.calibration import learned
from engine.core.records import Outcome, Pinned, Refused, Switch
from engine.scheduler.board import Board
from engine.scheduler.effects import Write
from engine.scheduler.jobs import Job
from engine.runtime.thrash_watch import ThrashWatch


class Bookkeeping:
    """One record for each job that moved something, changed pins or was refused."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._thrash = ThrashWatch(board)

    def refused(self, job: Job, refusal: Refusal) -> None:
        self._board.emit(Write(Refused(job.submission.id, refusal, job.submission.origin, self._board.now.wall_s)))

    def ended(self, job: Job, outcome: Outcome, reason: str) -> Switch | None:
        """The job's plan was carried out, as far as `outcome` says. Its switch, if it had residents to move."""
        plan, sub = job.plan, job.submission
        if plan is None or not plan.steps:
            return None
        if all(isinstance(s, PinStep | UnpinStep) for s in plan.steps):
            self._board.emit(Write(Pinned(sub.id, plan, sub.origin, self._board.now.wall_s)))
            return None
        switch = self._switch(job, outcome, reason)
        self._board.state = learned(self._board.state, switch)
        switch = replace(switch, floor_s=floor_s(self._board.state, switch))
        self._board.emit(Write(switch))
        self._thrash.switched(switch)
        return switch

    def _switch(self, job: Job, outcome: Outcome, reason: str) -> Switch:
        assert job.plan is not None
        reading = [self._board.reading_s.get(load.model, 0.0) for load in from_disk(job.plan.loads, job.tier)]
        return Switch(
            job.submission.id,
            job.plan,
            job.submission.origin,
            job.arrived_s,
            job.clock.elapsed_s(self._board.now.mono_s),
            job.clock.phases(),
            outcome,
            reason,
            job.tier,
            sum(reading) or None,
        )
