"""Changes that can be taken back: what the operator had done, kept in the state, and the batch that undoes the last of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.core.commands import Batch, Evict, Load, Move, SetPin, Single, Submission, Unpin, command_text
from engine.core.models import Pin
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Step, UnpinStep
from engine.core.state import Change, State

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
        here, pin = _home(state, net.model), state.models[net.model].pin
        wanted = net.pin_before if net.pin_touched and pin == net.pin_after else pin
        unpinned = False
        if net.before != net.after and here == net.after:
            (placements if net.before else evictions).append(_return(net, here))
            unpinned = net.before is None  # an eviction takes the pin away
        elif net.before != net.after and here != net.before:
            drifted.append(f"{net.model} has {f'come to {here}' if here else 'left'} since; it is left alone")
        if pin is not None and pin != wanted and not unpinned:
            unpins.append(Unpin(net.model))
        if wanted is not None and (pin != wanted or unpinned):
            pins.append(SetPin(net.model, wanted.device))
    commands = (*unpins, *evictions, *placements, *pins)
    return TakenBack(Batch(f"undo: {change.title}", commands, change.id), tuple(drifted))


class _Net(Struct):
    """What all steps of a change together did to one model."""

    model: ModelName
    before: DeviceId | None = None
    places: list[DeviceId] = []
    """Where the change has brought it and it still is, the newest last."""
    pin_before: Pin | None = None
    pin_after: Pin | None = None
    pin_touched: bool = False

    @property
    def after(self) -> DeviceId | None:
        return self.places[-1] if self.places else None

    @property
    def counts(self) -> bool:
        """Whether anything is different afterwards."""
        return self.before != self.after or self.pin_before != self.pin_after


def _nets(steps: Iterable[Step]) -> Iterable[_Net]:
    nets: dict[ModelName, _Net] = {}
    for step in steps:
        net = nets.setdefault(step.model, _Net(step.model))
        match step:
            case LoadStep():
                net.places.append(step.device)
            # a batch may bring a model to a device and take it off again: then it was never there before the change
            case EvictStep() if step.device in net.places:
                net.places.remove(step.device)
            case EvictStep():
                net.before = net.before or step.device
            case PinStep() | UnpinStep():
                net.pin_before = net.pin_before if net.pin_touched else step.before
                net.pin_after = Pin(step.device) if isinstance(step, PinStep) else None
                net.pin_touched = True
    return nets.values()


def _return(net: _Net, here: DeviceId | None) -> Single:
    if net.before is None:
        return Evict(net.model)
    return Load(net.model, net.before) if here is None else Move(net.model, net.before)


def _home(state: State, model: ModelName) -> DeviceId | None:
    """Where `model` is or will be, not counting places that it is leaving."""
    staying = (r.device for r in state.of(model) if r.stage in ("pending", "loading", "ready"))
    return next(staying, None)
