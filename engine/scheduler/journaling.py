"""What is written down without being asked for: a record of each job that moved something, with what its switch teaches of rates
and floors; who is resident, for a restart to restore; and that models chase each other off their devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec.structs import replace

from engine.core.forecast.calibration import floor_s, from_disk, learned
from engine.core.insight.thrash import Alarm, Displacement, displacements, find_thrash, recent
from engine.core.names import DeviceId, ModelName
from engine.core.plans import PinStep, Refusal, UnpinStep
from engine.core.records import Notice, Pinned, Refused, Residency, Switch, SwitchOutcome
from engine.core.state import Resident, State
from engine.scheduler.board import Board
from engine.scheduler.effects import Effect, KeepResidency, ReadSlab, Write
from engine.scheduler.jobs import Job
from engine.scheduler.messages import SlabRead

_Place: TypeAlias = tuple[ModelName, DeviceId]
_Noted: TypeAlias = tuple[tuple[_Place, ...], dict[ModelName, DeviceId | None]]
"""Residents, the oldest first, and pins."""


class JobRecords:
    """One record for each job that moved something, changed pins or was refused."""

    def __init__(self, board: Board, readings: ReadingTimes, thrash: ThrashWatch) -> None:
        self._board = board
        self._readings = readings
        self._thrash = thrash

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
        # First the lesson, then the floor: a switch that was faster than any before it is its own floor, not below it.
        self._board.apply(learned, switch)
        switch = replace(switch, floor_s=floor_s(self._board.state, switch))
        self._board.emit(Write(switch))
        self._thrash.switched(switch)
        return switch

    def _switch(self, job: Job, outcome: SwitchOutcome, reason: str) -> Switch:
        assert job.plan is not None
        reading = [self._readings.last_s(load.model) for load in from_disk(job.plan.loads, job.tier)]
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
            any(self._readings.was_cached(load.model) for load in from_disk(job.plan.loads, job.tier)),
        )


class ReadingTimes:
    """How long the last reading of each slab from disk took: from the effect that asks for it to the message that ends it. A
    switch's own phases can't tell: its reading may have begun long before it waited for it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._since_s: dict[ModelName, float] = {}
        """When the readings under way were asked for, on the steady clock."""
        self._last_s: dict[ModelName, float] = {}
        self._cached: set[ModelName] = set()
        """Whose last reading was from the page cache."""

    def asked(self, effects: Iterable[Effect]) -> None:
        """These effects are about to be performed."""
        for effect in effects:
            if isinstance(effect, ReadSlab):
                self._since_s[effect.model] = self._board.now.mono_s

    def ended(self, report: SlabRead) -> None:
        """A slab is there. How long it took to read one that was prepared first can't be told from when it was asked for."""
        now_s = self._board.now.mono_s
        self._cached.discard(report.model)
        if report.from_page_cache:
            self._cached.add(report.model)
        since_s = self._since_s.pop(report.model, now_s)
        if report.tier == "source":
            self._last_s.pop(report.model, None)
        else:
            self._last_s[report.model] = now_s - since_s

    def was_cached(self, model: ModelName) -> bool:
        """Whether its last reading was from the host's page cache."""
        return model in self._cached

    def last_s(self, model: ModelName) -> float:
        """Of the model's last reading; 0 where none was timed."""
        return self._last_s.get(model, 0.0)


class ThrashWatch:
    """An episode begins with the alarm, and ends when none of its models has displaced another for two minutes."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen: list[Displacement] = []
        self._episodes: dict[frozenset[ModelName], Alarm] = {}
        """The alarm that each began with, by all models that were part of it since."""

    def switched(self, switch: Switch) -> None:
        """A switch has ended."""
        self.look_for_ends()
        self._seen += displacements(switch)
        for alarm in find_thrash(self._board.state, self._seen, self._board.now.wall_s):
            models = next((known for known in self._episodes if not known.isdisjoint(alarm.models)), None)
            if models is None:
                self._tell(alarm, "warning", alarm.text, over=False)
                self._episodes[frozenset(alarm.models)] = alarm
            else:
                self._episodes[models.union(alarm.models)] = self._episodes.pop(models)

    def look_for_ends(self) -> None:
        """Tell of the episodes that are over."""
        self._seen = recent(self._seen, self._board.now.wall_s)
        movers = {one.mover for one in self._seen}
        for models in [models for models in self._episodes if models.isdisjoint(movers)]:
            alarm = self._episodes.pop(models)
            self._tell(alarm, "info", alarm.past, over=True)

    def _tell(self, alarm: Alarm, level: Literal["info", "warning"], text: str, *, over: bool) -> None:
        device = alarm.devices[0] if len(alarm.devices) == 1 else None
        now_s = self._board.now.wall_s
        self._board.emit(Write(Notice(now_s, level, text, device, condition=alarm.condition, over=over)))


class ResidencyNotes:
    """Who is resident and pinned, at first and whenever that has changed; a starting engine reads it back."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._noted: _Noted | None = None

    def consider(self, coming_back: Iterable[_Place]) -> None:
        """Have it kept, if it is not what was kept last. A restart is to restore those, too, that are `coming_back`: after
        another restart, or their worker's death."""
        noted = _noted(self._board.state, coming_back)
        if noted != self._noted:
            self._noted = noted
            self._board.emit(KeepResidency(Residency(self._board.now.wall_s, *noted)))


def _may_stay(state: State, resident: Resident) -> bool:
    """Whether it drains and is the only one of its model, so that a request may still keep it. One that moves is no copy."""
    return resident.stage == "draining" and not state.places(resident.model)


def _noted(state: State, coming_back: Iterable[_Place]) -> _Noted:
    here = [(r.model, r.device) for r in state.residents if r.stage == "ready" or _may_stay(state, r)]
    away = [(model, device) for model, device in coming_back if model in state.models]
    pins = {name: known.pin.device for name, known in state.models.items() if known.pin is not None}
    return tuple(dict.fromkeys((*away, *here))), pins
