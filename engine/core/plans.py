"""Plans: the ordered steps that answer one command. The preview, the execution and the journal share this one object."""

from __future__ import annotations

from functools import reduce
from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.commands import Batch, Command, models_of
from engine.core.models import Pin
from engine.core.names import DeviceId, ModelName
from engine.core.prediction import NOTHING, Prediction

Tier: TypeAlias = Literal["source", "disk", "ram"]
"""Where a load starts from: an unprepared checkpoint, a prepared slab on disk, or the RAM tier."""


class EvictStep(Struct, frozen=True, tag="evict"):
    """Take the model off the device, after its leases have ended."""

    model: ModelName
    device: DeviceId
    size_bytes: int
    leases: int = 0
    """Running uses that must end first."""
    victim: bool = True
    """Whether it leaves to make room for another model, not because the command names it."""
    predicted: Prediction = NOTHING
    loss_s: float | None = None
    """Seconds of reloading that a victim's leaving is expected to cost: expected requests × `reload_s`."""
    reload_s: float | None = None
    """Seconds that bringing it back once is expected to take, from where its weights rest now: if they are written back to the
    RAM tier, they may have left it again by then."""
    written_back: bool = False
    """Whether its weights are written back to the RAM tier before they go."""
    drain: Prediction = NOTHING
    """Until its leases have ended by themselves, if nothing more comes."""
    at_once: bool = False
    """Whether runs that hold it up are ended, instead of waited for."""
    stays: tuple[DeviceId, ...] = ()
    """Where else it is ready: then it is a copy, and what it is expected to cost is waiting, not reloading."""


class LoadStep(Struct, frozen=True, tag="load"):
    """Bring the model to the device."""

    model: ModelName
    device: DeviceId
    size_bytes: int
    tier: Tier
    predicted: Prediction = NOTHING
    stays: tuple[DeviceId, ...] = ()
    """Where it is ready and stays: then this is one more copy."""


class PinStep(Struct, frozen=True, tag="pin"):
    model: ModelName
    device: DeviceId | None = None
    before: Pin | None = None
    """The pin that it replaces, for undo."""


class UnpinStep(Struct, frozen=True, tag="unpin"):
    model: ModelName
    before: Pin | None = None
    """The pin that it removes, for undo."""


Step: TypeAlias = EvictStep | LoadStep | PinStep | UnpinStep


class Alternative(Struct, frozen=True):
    """A placement that was weighed and lost."""

    device: DeviceId
    victims: tuple[ModelName, ...]
    predicted: Prediction
    cost_s: float
    """Expected seconds lost to reloading the victims, plus the load itself."""
    why_not: str


class Plan(Struct, frozen=True, tag="plan"):
    """What the engine will do for `command`, in order."""

    command: Command
    steps: tuple[Step, ...]
    reasons: tuple[str, ...]
    """Why so, each one sentence."""
    alternatives: tuple[Alternative, ...] = ()
    rooms: tuple[Room, ...] = ()
    """What the devices that were asked had, the chosen one first; not those beyond the alternatives shown."""
    joins: bool = False
    """Whether a load of its model is under way: that is waited for, and then the command is planned anew. There are no steps."""

    @property
    def predicted(self) -> Prediction:
        """Time until the last step is done, drains not counted."""
        return sum((s.predicted for s in self.steps if isinstance(s, EvictStep | LoadStep)), NOTHING)

    @property
    def drains(self) -> Prediction:
        """Time until the leases that it waits for have ended, before the rest. They run side by side."""
        waits = (s.drain for s in self.steps if isinstance(s, EvictStep) and s.leases and not s.at_once)
        return reduce(Prediction.beside, waits, NOTHING)

    @property
    def may_end_runs(self) -> bool:
        """Whether it waits for runs that could be ended instead."""
        return any(isinstance(s, EvictStep) and s.leases and not s.at_once for s in self.steps)

    @property
    def victims(self) -> tuple[EvictStep, ...]:
        return tuple(s for s in self.steps if isinstance(s, EvictStep) and s.victim)

    @property
    def load(self) -> LoadStep | None:
        """The plan's first load, if it has one; only a batch has several."""
        return next(iter(self.loads), None)

    @property
    def loads(self) -> tuple[LoadStep, ...]:
        return tuple(s for s in self.steps if isinstance(s, LoadStep))

    @property
    def has_side_effects(self) -> bool:
        """Whether it touches more than its own model, undoes the operator's word, or waits: ask first."""
        if isinstance(self.command, Batch):
            return bool(self.steps)
        if self.command.__struct_config__.tag in ("move", "leave-cpu") and self.load is not None:
            return True
        unpins = any(isinstance(s, UnpinStep) for s in self.steps) and self.command.__struct_config__.tag != "unpin"
        waits = any(isinstance(s, EvictStep) and s.leases for s in self.steps)
        return bool(self.victims) or unpins or waits

    @property
    def effects(self) -> str:
        """What the plan does, without times or reasons; equal for plans that an operator would call the same."""
        return "; ".join(_effect(s) for s in self.steps)


BlockerWhy: TypeAlias = Literal["pinned", "leased", "loading", "leaving", "too young", "came since"]


class Blocker(Struct, frozen=True):
    """A model that is in the way, and why it may not leave."""

    model: ModelName
    device: DeviceId
    size_bytes: int
    why: BlockerWhy

    @property
    def passes(self) -> bool:
        """Whether waiting alone may remove it."""
        return self.why != "pinned"


class Room(Struct, frozen=True):
    """What a device could have offered."""

    device: DeviceId
    budget_bytes: int
    free_bytes: int
    note: str = ""
    """Why the device was out of the question, if it was."""
    others_bytes: int = 0
    """What the budget lacks because other processes hold that much of the device."""


class Refusal(Struct, frozen=True, tag="refusal"):
    """Why a command can't be done, and what would let it."""

    command: Command
    reason: str
    needed_bytes: int = 0
    rooms: tuple[Room, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether it may become possible without the operator, so that a request may wait for it."""
        return any(b.passes for b in self.blockers)

    @property
    def may_end_runs(self) -> bool:
        """Whether runs are in the way, which could be ended. Nothing can be had now that has no commands yet, as a proposal."""
        return bool(models_of(self.command)) and any(b.why == "leased" for b in self.blockers)


def _effect(step: Step) -> str:
    match step:
        case EvictStep():
            how = " at once" if step.at_once else " after its leases" if step.leases else ""
            return f"evict {step.model} from {step.device}{how}"
        case LoadStep():
            return f"load {step.model}{' also' if step.stays else ''} on {step.device}"
        case PinStep():
            return f"pin {step.model}" + (f" on {step.device}" if step.device else "")
        case UnpinStep():
            return f"unpin {step.model}"
