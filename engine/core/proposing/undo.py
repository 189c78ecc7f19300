"""Changes that can be taken back: what the operator had done, kept in the state, and the batch that undoes the last of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.commands import MOST_TITLE, Batch, SetPin, Single, Submission, Unpin, command_text, to_stand_on
from engine.core.models import Pin
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Step, UnpinStep
from engine.core.state import Change, State
from engine.core.texts import in_brief

KEPT_CHANGES: Final = 10


def remembered(state: State, submission: Submission, plan: Plan, now_s: float) -> State:
    """`state` with the operator's `plan`, carried out, as the newest change.

    A batch that undoes takes its change away instead, and the newer ones with it: nothing of those was left to take back.
    """
    command = submission.command
    if isinstance(command, Batch) and command.undoes is not None:
        ids = [change.id for change in state.changes]
        kept = ids.index(command.undoes) if command.undoes in ids else len(ids)
        return replace(state, changes=state.changes[:kept])
    if submission.origin != "operator" or not any(net.counts for net in _nets(plan.steps)):
        return state
    change = Change(submission.id, now_s, command_text(command), plan.steps)
    return replace(state, changes=(*state.changes, change)[-KEPT_CHANGES:])


class TakenBack(Struct, frozen=True):
    """What would undo a change."""

    batch: Batch
    """Empty when nothing of the change is left."""
    drifted: tuple[str, ...]
    """What the change did and something else has undone or overtaken since, in words; it is left alone."""


def taken_back(state: State, change: Change) -> TakenBack:
    """The batch that restores what was before `change`, as far as the models still are where it left them."""
    # Place and pin of a model are looked at separately, and each is put back only where it still is what the change made of it:
    # what the engine or another command did since is newer than the wish to undo, and stands. The order of the commands matters
    # to the planner, which plans each on what the ones before leave: pins that the change set go first, since nothing is loaded
    # elsewhere than where it is pinned; evictions make the room that placements need; old pins come last, when their models are
    # back, since a pin to a device would bring them there itself.
    unpins, evictions, placements, pins = list[Single](), list[Single](), list[Single](), list[Single]()
    drifted: list[str] = []
    for net in _nets(change.steps):
        here, pin = state.places(net.model), state.models[net.model].pin
        wanted = net.pin_before if net.pin_touched and pin == net.pin_after else pin
        unpinned = False
        if net.moved and net.holds(here):
            leaving, coming = to_stand_on(net.model, here, net.before(here))
            evictions += leaving
            placements += coming
            unpinned = not net.before(here)  # an eviction takes the pin away
        elif net.moved and not net.is_back(here):
            since = f"come to {' and '.join(here)}" if here else "left"
            drifted.append(f"{net.model} has {since} since; it is left alone")
        if pin is not None and pin != wanted and not unpinned:
            unpins.append(Unpin(net.model))
        if wanted is not None and (pin != wanted or unpinned):
            pins.append(SetPin(net.model, wanted.device))
    commands = (*unpins, *evictions, *placements, *pins)
    return TakenBack(Batch(in_brief(f"undo: {change.title}", MOST_TITLE - 1), commands, change.id), tuple(drifted))


class _Net(Struct):
    """What all steps of a change together did to one model."""

    model: ModelName
    left: list[DeviceId] = []
    """Where it was, and the change took it off."""
    places: list[DeviceId] = []
    """Where the change has brought it and it still is, the newest last."""
    stayed: list[DeviceId] = []
    """Where it was before and after: its other copies."""
    pin_before: Pin | None = None
    pin_after: Pin | None = None
    pin_touched: bool = False

    @property
    def moved(self) -> bool:
        return set(self.left) != set(self.places)

    @property
    def counts(self) -> bool:
        """Whether anything is different afterwards."""
        return self.moved or self.pin_before != self.pin_after

    def holds(self, here: Sequence[DeviceId]) -> bool:
        """Whether a model that is `here` still is what the change made of it. A copy beside it may have left since."""
        return set(self.places) <= set(here) <= {*self.places, *self.stayed}

    def before(self, here: Sequence[DeviceId]) -> list[DeviceId]:
        """Where a model that is `here` would be without the change."""
        return [*(device for device in here if device not in self.places), *self.left]

    def is_back(self, here: Sequence[DeviceId]) -> bool:
        """Whether a model that is `here` is where it was before the change."""
        return set(self.left) <= set(here) <= {*self.left, *self.stayed}


def _nets(steps: Iterable[Step]) -> Iterable[_Net]:
    nets: dict[ModelName, _Net] = {}
    for step in steps:
        net = nets.setdefault(step.model, _Net(step.model))
        match step:
            case LoadStep():
                net.stayed += step.stays
                net.places.append(step.device)
            # a batch may bring a model to a device and take it off again: then it was never there before the change
            case EvictStep() if step.device in net.places:
                net.places.remove(step.device)
            case EvictStep():
                net.stayed += step.stays
                net.left.append(step.device)
            case PinStep() | UnpinStep():
                net.pin_before = net.pin_before if net.pin_touched else step.before
                net.pin_after = Pin(step.device) if isinstance(step, PinStep) else None
                net.pin_touched = True
    for net in nets.values():
        net.stayed = [device for device in net.stayed if device not in (*net.left, *net.places)]
    return nets.values()
