"""What is written down of jobs that have ended, and what their switches teach: rates, floors, and who displaces whom."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.forecast.calibration import floor_s, from_disk, learned
from engine.core.insight.thrash import Displacement, displacements, find_thrash, recent
from engine.core.names import DeviceId, ModelName
from engine.core.plans import PinStep, Refusal, UnpinStep
from engine.core.records import Notice, Pinned, Refused, Residency, Switch, SwitchOutcome
from engine.core.state import State
from engine.scheduler.board import Board
from engine.scheduler.effects import Write
from engine.scheduler.jobs import Job


class ThrashWatch:
    """An episode begins with the alarm, and ends when none of its models has displaced another for two minutes."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen: list[Displacement] = []
        self._told: set[ModelName] = set()

    def switched(self, switch: Switch) -> None:
        """A switch has ended."""
        now_s = self._board.now.wall_s
        self._seen = recent(self._seen, now_s)
        self._told &= {one.mover for one in self._seen}
        self._seen += displacements(switch)
        for alarm in find_thrash(self._board.state, self._seen, now_s):
            if self._told.isdisjoint(alarm.models):
                device = alarm.devices[0] if len(alarm.devices) == 1 else None
                self._board.emit(Write(Notice(now_s, "warning", alarm.text, device)))
            self._told |= set(alarm.models)


class Bookkeeping:
    """One record for each job that moved something, changed pins or was refused."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._thrash = ThrashWatch(board)

    def refused(self, job: Job, refusal: Refusal) -> None:
        self._board.emit(Write(Refused(job.submission.id, refusal, job.submission.origin, self._board.now.wall_s)))

    def ended(self, job: Job, outcome: SwitchOutcome, reason: str) -> Switch | None:
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

    def _switch(self, job: Job, outcome: SwitchOutcome, reason: str) -> Switch:
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


class ResidencyNotes:
    """One whenever that has changed."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._noted = _residency(board.state)

    def consider(self) -> None:
        """Write it down, if it is not what was written last."""
        residency = _residency(self._board.state)
        if residency != self._noted:
            self._noted = residency
            self._board.emit(Write(Residency(self._board.now.wall_s, *residency)))


def _residency(state: State) -> tuple[tuple[tuple[ModelName, DeviceId], ...], dict[ModelName, DeviceId | None]]:
    ready = tuple((r.model, r.device) for r in state.residents if r.stage in ("ready", "draining"))
    pins = {name: known.pin.device for name, known in state.models.items() if known.pin is not None}
    return ready, pins
