"""Which boxes a command goes to, and as what: pure.

One that names a device goes to that device's box. What a model is called off, pinned or brought back from goes where it is. What
is only to be loaded somewhere may go to any box, and is put out to bid (`bidders`) before it is routed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from engine.core.commands import (
    Batch,
    Command,
    Evict,
    ForceCpu,
    LeaveCpu,
    Load,
    Move,
    SetPin,
    Single,
    Unpin,
    command_text,
    singles_of,
)
from engine.core.names import BoxName, DeviceId, ModelName, box_of, is_cpu, on_box, within_box
from engine.core.plans import Refusal
from engine.core.proposing.undo import taken_back
from engine.core.state import Change, State
from fleet.naming import within


class Known(Struct, frozen=True):
    """What routing goes by."""

    states: Mapping[BoxName, State]
    """Of each box that was ever heard, in the operator's order, as the box calls its devices."""
    ready: Sequence[BoxName]
    """Those that may be asked now."""
    drained: Collection[BoxName] = ()
    """Those where nothing may be loaded any more."""
    only: Mapping[ModelName, Collection[BoxName]] = {}
    """The boxes that may hold a model, where not all may."""


class Part(Struct, frozen=True):
    """What one box does of a command, as it calls its devices."""

    box: BoxName
    command: Command


class Route(Struct, frozen=True):
    """Where a command goes."""

    parts: tuple[Part, ...]
    in_order: bool = False
    """Whether each part begins once the one before is done, and not at all where that is not; else they are side by side."""
    remarks: tuple[str, ...] = ()
    """What the operator should know of it."""


class Unrouted(Exception):
    """A command that can't be carried out as it is; says why, and what would do."""

    def __init__(self, reason: str, *advice: str) -> None:
        super().__init__(reason)
        self.reason: Final = reason
        self.advice: Final = advice


def to_be_bid(single: Single, known: Known) -> bool:
    """Whether it may go to any box, so that they have to be asked what it would cost them."""
    match single:
        case Load(model, None, also):
            return also or not _here(model, known)
        case ForceCpu(model) | LeaveCpu(model):
            return not _here(model, known)
        case _:
            return False


def routed(command: Command, known: Known, chosen: Mapping[Single, BoxName]) -> Route | Refusal:
    """Where `command` goes; `chosen` are the boxes of what was put out to bid."""
    try:
        if not isinstance(command, Batch):
            return _single(command, known, chosen)
        if command.undoes is not None:
            return _undo(command, command.undoes, known)
        return _batch(command, [(one, _single(one, known, chosen)) for one in command.commands])
    except Unrouted as unrouted:
        return Refusal(command, unrouted.reason, advice=unrouted.advice)


def box_meant(device: DeviceId, known: Known) -> BoxName:
    """The box of a device; one without a box's name is meant where only one box has it. Raises Unrouted."""
    box, name = box_of(device), within_box(device)
    having = [one for one, state in known.states.items() if name in state.devices and box in ("", one)]
    if len(having) == 1:
        return having[0]
    if having:
        names = " or ".join(on_box(one, name) for one in having[:3])
        raise Unrouted(f"{name} is on {len(having)} boxes", f"say which: {names}")
    devices = ", ".join(on_box(one, name) for one, state in known.states.items() for name in state.devices)
    raise Unrouted(f"there is no device {device}", f"the devices are {devices or 'none that is known yet'}")


def _having(model: ModelName, device: DeviceId, known: Known) -> BoxName:
    """The box of a device, whose catalog has the model. Raises Unrouted."""
    box = box_meant(device, known)
    if not _has(box, model, known):
        others = ", ".join(other for other in known.states if _has(other, model, known))
        raise Unrouted(f"the catalog of {box} has no {model}", f"put it there, or name a device of {others}")
    return box


def _taking(model: ModelName, device: DeviceId, known: Known) -> BoxName:
    """The box of a device to which the model is to come. Raises Unrouted."""
    box, only = _open(_having(model, device, known), known), known.only.get(model)
    if only is not None and box not in only and not known.states[box].places(model):
        allowed = ", ".join(only)
        raise Unrouted(
            f"fleet.yaml lets only {allowed} hold {model}",
            f"name a device of {allowed}, or say otherwise there and `citadel fleet reload`",
        )
    return box


def _open(box: BoxName, known: Known) -> BoxName:
    """The box, on which something is to be loaded. Raises Unrouted."""
    if box in known.drained:
        raise Unrouted(
            f"{box} is drained: it takes nothing new", f"`citadel fleet undrain {box}` first, or another box"
        )
    return box


def within_of(command: Command, known: Known) -> Command:
    """The command as the boxes of its devices call them."""
    for single in singles_of(command):
        if device := getattr(single, "device", None):
            command = within(box_meant(device, known), command)
    return command


def _single(single: Single, known: Known, chosen: Mapping[Single, BoxName]) -> Route:
    if single in chosen:
        return Route((Part(chosen[single], single),))
    model, here = single.model, _here(single.model, known)
    match single:
        case Evict(device=None):
            boxes = _reachable(model, _everywhere(model, known), known)
            return Route(tuple(Part(box, single) for box in boxes or _first(model, known)))
        case Evict(device=device):
            assert device is not None
            return Route((Part(_having(model, device, known), replace(single, device=within_box(device))),))
        case Load(device=str(device), also=True) | SetPin(device=str(device)):
            box = _taking(model, device, known)
            return Route((Part(box, replace(single, device=within_box(device))),))
        case Load(device=str(device), also=False) | Move(device=device):
            box = _taking(model, device, known)
            if box in _everywhere(model, known):  # a matter of that box alone: copies elsewhere stay
                return Route((Part(box, replace(single, device=within_box(device))),))
            others = tuple(Part(other, Evict(model)) for other in here)
            away = [other for other in _everywhere(model, known) if other not in here]
            remarks = tuple(f"the copy on {other}, which does not answer, stays" for other in away)
            load = Load(model, within_box(device))
            coming: Command = load
            pinned = [other for other in here if _is_pinned(model, known.states[other])]
            if pinned and not _is_pinned(model, known.states[box]):
                coming = Batch(f"{command_text(load)}, and its pin", (load, SetPin(model)))
                remarks = (f"the pin that it has on {' and '.join(pinned)} goes along", *remarks)
            return Route((Part(box, coming), *others), bool(others), remarks)
        case SetPin():
            having = _reachable(model, _everywhere(model, known), known)
            boxes = [_oldest(model, having, known)] if having else [b for b in known.ready if _has(b, model, known)]
            return Route(tuple(Part(box, single) for box in boxes))
        case Unpin():
            pinning = [box for box, state in known.states.items() if _is_pinned(model, state)]
            return Route(tuple(Part(box, single) for box in _reachable(model, pinning, known) or _first(model, known)))
        case Load():
            return Route((Part(_oldest(model, here, known), single),))
        case ForceCpu():
            return Route((Part(_open(_oldest(model, here, known), known), single),))
        case LeaveCpu():
            on_cpu = [box for box in here if any(is_cpu(name) for name in known.states[box].places(model))]
            return Route((Part(_open(_oldest(model, on_cpu or here, known), known), single),))
        case _:
            assert_never(single)


def _batch(batch: Batch, routes: Iterable[tuple[Single, Route]]) -> Route:
    """Each box does what is its own of the batch. Raises Unrouted where one box would have to wait for another."""
    by_box: dict[BoxName, list[Single]] = {}
    boxes_of: dict[ModelName, set[BoxName]] = {}
    brought: set[ModelName] = set()
    for single, route in routes:
        if route.in_order:
            raise Unrouted(
                f"{command_text(single)} has two boxes do something one after the other, which a batch can't",
                "ask for it by itself",
            )
        for part in route.parts:
            by_box.setdefault(part.box, []).extend(singles_of(part.command))
            boxes_of.setdefault(single.model, set()).add(part.box)
        if not isinstance(single, Evict | SetPin | Unpin):
            brought.add(single.model)
    if torn := sorted(model for model in brought if len(boxes_of[model]) > 1):
        raise Unrouted(
            f"{torn[0]} is to come to one box and leave another, which boxes do side by side",
            f"move it by itself: it then leaves {' and '.join(sorted(boxes_of[torn[0]]))} only once it has come",
        )
    return Route(tuple(Part(box, replace(batch, commands=tuple(own))) for box, own in by_box.items()))


def _everywhere(model: ModelName, known: Known) -> list[BoxName]:
    """Where it is or will be, as far as is known."""
    return [box for box, state in known.states.items() if state.places(model)]


def _here(model: ModelName, known: Known) -> list[BoxName]:
    """The same of boxes that answer."""
    return [box for box in _everywhere(model, known) if box in known.ready]


def _reachable(model: ModelName, boxes: list[BoxName], known: Known) -> list[BoxName]:
    """`boxes`. Raises Unrouted where one of these can't be asked."""
    if away := [box for box in boxes if box not in known.ready]:
        near = [on_box(box, name) for box in boxes if box in known.ready for name in known.states[box].places(model)]
        advice = f"name a device, as in {near[0]}, to leave it out" if near else f"try again when {away[0]} is back"
        raise Unrouted(f"{model} is on {away[0]}, which does not answer", advice)
    return boxes


def _oldest(model: ModelName, boxes: Iterable[BoxName], known: Known) -> BoxName:
    return min(boxes, key=lambda box: min(one.since_s for one in known.states[box].of(model)))


def _first(model: ModelName, known: Known) -> list[BoxName]:
    """A box to say that there is nothing to do. Raises Unrouted where none that has the model can be asked."""
    if box := next((box for box in known.ready if _has(box, model, known)), None):
        return [box]
    raise Unrouted(f"no box that has {model} answers now", "try again when one is back")


def _has(box: BoxName, model: ModelName, known: Known) -> bool:
    return model in known.states[box].models


def _is_pinned(model: ModelName, state: State) -> bool:
    return model in state.models and state.models[model].pin is not None


def takes_back(known: Known) -> dict[BoxName, Batch]:
    """What undoes the newest change of which something is left, on each box that had a part in it and answers, as the box calls
    its devices; boxes that only give something up come last."""
    newest = dict[BoxName, tuple[Change, Batch]]()
    for box in known.ready:
        changes = reversed(known.states[box].changes)
        backs = ((change, taken_back(known.states[box], change).batch) for change in changes)
        if found := next(((change, batch) for change, batch in backs if batch.commands), None):
            newest[box] = found
    last = max((change for change, _batch in newest.values()), key=lambda change: change.at_s, default=None)
    batches = {box: batch for box, (change, batch) in newest.items() if last is not None and change.id == last.id}
    return dict(sorted(batches.items(), key=lambda one: all(isinstance(c, Evict | Unpin) for c in one[1].commands)))


def _undo(batch: Batch, change_id: str, known: Known) -> Route:
    """One change may be several boxes': each takes its own part back. Raises Unrouted."""
    parts = {box: own for box, own in takes_back(known).items() if own.undoes == change_id}
    if parts:
        return Route(tuple(Part(box, own) for box, own in parts.items()), in_order=True)
    return Route((Part(_box_of_change(change_id, known), within_of(batch, known)),))


def _box_of_change(change_id: str, known: Known) -> BoxName:
    for box, state in known.states.items():
        if any(change.id == change_id for change in state.changes):
            return box
    raise Unrouted("there is nothing to take back: no box that was heard remembers that change")
