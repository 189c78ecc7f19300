"""A short night on two GPUs, told as an engine's records and samples tell it: switches, a failed load, a death, a restart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from citadel_tui.timeline.chronicle import Chronicle
from engine.api import PROTOCOL, Hello
from engine.core.commands import Evict, Load, Origin
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, Plan
from engine.core.prediction import Prediction
from engine.core.records import Entry, Notice, Phases, Record, Residency, Switch, SwitchOutcome
from engine.core.sizes import MIB
from engine.recording.memory import DeviceSample, Sample

BEGAN_S: Final = 1_800_000_000.0
"""08:00:00 UTC, at the beginning of a column of any length up to an hour."""
SIZES: Final[dict[ModelName, int]] = {"phi-3-mini": 3900 * MIB, "bge-base": 440 * MIB, "e5-small": 141 * MIB}
PHI, BGE, E5 = SIZES
HELLO: Final = Hello(PROTOCOL, "0.1.0", "box", 1, BEGAN_S, "/etc/citadel", "")


class Night:
    """Tells a chronicle what happens, in seconds since it began."""

    def __init__(self, began_s: float = BEGAN_S) -> None:
        self.began_s = began_s
        self.chronicle = Chronicle()
        self.records: list[Record] = []
        self.at = 0.0
        self._there: dict[tuple[ModelName, DeviceId], None] = {}

    def started(self, at: float = 0.0) -> None:
        self._there.clear()
        self.chronicle.started(self.began_s + at)

    def write(self, entry: Entry) -> Record:
        record = Record(len(self.records) + 1, entry)
        self.records.append(record)
        self.chronicle.record(record)
        return record

    def resident(self, at: float, *places: tuple[ModelName, DeviceId]) -> None:
        """A line on who is there, as in journals of earlier versions."""
        self._there = dict.fromkeys(places)
        self.write(Residency(self.began_s + at, places, {}))

    def load(
        self,
        at: float,
        model: ModelName,
        device: DeviceId,
        *victims: ModelName,
        took: float = 0.2,
        origin: Origin = "request",
        outcome: SwitchOutcome = "done",
        reason: str = "",
    ) -> Record:
        """A switch whose load is ready `at` that second."""
        steps = [EvictStep(victim, device, SIZES[victim]) for victim in victims]
        load = LoadStep(model, device, SIZES[model], "ram", Prediction(0.2, 0.3))
        plan = Plan(Load(model), (*steps, load), ("gpu0 has room",))
        phases = Phases(copy=took)
        began_s = self.began_s + at - took
        switch = Switch(f"s{at}", plan, origin, began_s, phases.total_s, phases, outcome, reason, tier="ram")
        record = self.write(switch)
        if outcome == "done":
            stay = [place for place in self._there if place not in {(victim, device) for victim in victims}]
            self._there = dict.fromkeys([*stay, (model, device)])
        return record

    def evict(self, at: float, model: ModelName, device: DeviceId) -> Record:
        """It is taken off, as asked."""
        self._there.pop((model, device), None)
        plan = Plan(Evict(model, device), (EvictStep(model, device, SIZES[model], victim=False),), ())
        return self.write(Switch(f"s{at}", plan, "operator", self.began_s + at, 0.0, Phases()))

    def die(self, at: float, device: DeviceId, text: str) -> None:
        """The device's worker takes its residents along."""
        self._there = {place: None for place in self._there if place[1] != device}
        self.write(Notice(self.began_s + at, "warning", text, device))

    def look(self, at: float, *answered: ModelName) -> None:
        """A line of the recorded monitor."""
        self.chronicle.sampled(self.sample(at, *answered))

    def sample(self, at: float, *answered: ModelName) -> Sample:
        devices: dict[DeviceId, dict[ModelName, int]] = {"gpu0": {}, "gpu1": {}}
        for model, device in self._there:
            devices.setdefault(device, {})[model] = SIZES[model]
        told = (
            DeviceSample(name, "ok", 5000 * MIB, 0, 0, 0.1, held, answered=tuple(m for m in held if m in answered))
            for name, held in devices.items()
        )
        return Sample(self.began_s + at, tuple(told))

    def looks(self, begin: float, end: float, answered: Iterable[ModelName], step: float = 20.0) -> None:
        """Looks each `step` seconds, in each of which all of `answered` had run a request."""
        at = begin
        while at <= end:
            self.look(at, *answered)
            at += step
