"""The verbs that act on models: when each can be done, the ways to do it, and all of it for several models at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from engine.api import Snapshot
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
)
from engine.core.names import CPU, DeviceId, ModelName, box_of, is_cpu, on_box

Models: TypeAlias = tuple[ModelName, ...]


class Way(Struct, frozen=True):
    """One way to carry a verb out for one model."""

    label: str
    command: Single


class WayChosen(Struct, frozen=True):
    """One way to carry a verb out, for one model or for several."""

    label: str
    command: Command
    count: int = 1
    """Models that it is for."""


class Verb(Struct, frozen=True):
    """What can be done to a model."""

    why_not: Callable[[Snapshot, ModelName], str]
    """Why it can't be done now, in words; empty when it can."""
    ways: Callable[[Snapshot, ModelName], tuple[Way, ...]]
    """The likeliest first."""


def why_not(verb: Verb, now: Snapshot, models: Models) -> str:
    """Why `verb` can be done for none of `models`; empty when it can for some of them."""
    reasons = [verb.why_not(now, model) for model in models if model in now.state.models]
    if not reasons:
        return "no model is selected"
    if "" in reasons:
        return ""
    return reasons[0] if len(models) == 1 else f"for none of the {len(models)} marked models: {reasons[0]}"


def choices(verb: Verb, now: Snapshot, models: Models) -> tuple[WayChosen, ...]:
    """The ways to carry `verb` out; for several models each way takes those of them that have it."""
    able = [model for model in models if model in now.state.models and not verb.why_not(now, model)]
    ways: dict[str, list[Single]] = {}
    for model in able:
        for way in verb.ways(now, model):
            ways.setdefault(way.label, []).append(way.command)
    return tuple(WayChosen(label, _together(commands, len(models)), len(commands)) for label, commands in ways.items())


def _together(commands: list[Single], asked: int) -> Command:
    """One command, or a batch with a title such as "load 2 of 3 models on gpu0"."""
    if len(commands) == 1:
        return commands[0]
    count = f"{len(commands)} models" if len(commands) == asked else f"{len(commands)} of {asked} models"
    return Batch(command_text(replace(commands[0], model=count)), tuple(commands))


def _why_not_load(now: Snapshot, model: ModelName) -> str:
    trouble = now.state.models[model].trouble
    ready = [r.device for r in now.state.of(model) if r.stage == "ready"]
    if ready and not _also(now, model):
        return f"{model} is on {' and '.join(ready)} already{'; it can be moved' if _move(now, model) else ''}"
    return f"{model} can't be loaded: {trouble}" if trouble else ""


def _why_not_evict(now: Snapshot, model: ModelName) -> str:
    return "" if now.state.of(model) else f"{model} is on no device"


def _why_not_move(now: Snapshot, model: ModelName) -> str:
    return _why_not_evict(now, model) or ("" if _move(now, model) else "there is no other device")


def _placeable(now: Snapshot) -> list[DeviceId]:
    closed = {name for name, box in now.boxes.items() if box.drained or box.standing != "ready"}
    well = (device for device, known in now.state.devices.items() if known.reading.health == "ok")
    return [device for device in well if box_of(device) not in closed]


def _also(now: Snapshot, model: ModelName) -> tuple[Way, ...]:
    """One more copy, of a model that is ready on GPUs."""
    here = {r.device for r in now.state.of(model)}
    if not here or any(map(is_cpu, here)):
        return ()
    free = (device for device in _placeable(now) if device not in here and not is_cpu(device))
    return tuple(Way(f"also on {device}", Load(model, device, also=True)) for device in free)


def _load(now: Snapshot, model: ModelName) -> tuple[Way, ...]:
    if any(r.stage == "ready" for r in now.state.of(model)):
        return _also(now, model)
    devices = _placeable(now)
    best = (Way("auto: the cheapest device", Load(model)),) if len(devices) > 1 else ()
    return best + tuple(Way(device, Load(model, device)) for device in devices)


def _evict(now: Snapshot, model: ModelName) -> tuple[Way, ...]:
    here = [r.device for r in now.state.of(model) if r.stage == "ready"]
    if len(here) < 2:
        return (Way("evict", Evict(model)),)
    return (*(Way(f"from {device}", Evict(model, device)) for device in here), Way("from all of them", Evict(model)))


def _pin(now: Snapshot, model: ModelName) -> tuple[Way, ...]:
    return (Way("pin", SetPin(model)) if now.state.models[model].pin is None else Way("unpin", Unpin(model)),)


def _cpu(now: Snapshot, model: ModelName) -> tuple[Way, ...]:
    pin = now.state.models[model].pin
    if pin is not None and pin.device is not None and is_cpu(pin.device):
        return (Way("back to a GPU", LeaveCpu(model)),)
    if not now.boxes:
        return (Way("run on the CPU", ForceCpu(model)),)
    return tuple(Way(f"run on {cpu}", SetPin(model, cpu)) for cpu in _cpus(now, model))


def _cpus(now: Snapshot, model: ModelName) -> list[DeviceId]:
    """Of a fleet, the CPUs of the boxes where the model is; where it is nowhere, all that take it."""
    here = dict.fromkeys(on_box(box_of(r.device), CPU) for r in now.state.of(model))
    return [cpu for cpu in here if cpu in now.state.devices] or [d for d in _placeable(now) if is_cpu(d)]


def _move(now: Snapshot, model: ModelName) -> tuple[Way, ...]:
    here = {r.device for r in now.state.of(model)}
    return tuple(Way(device, Move(model, device)) for device in _placeable(now) if device not in here)


def _always(now: Snapshot, model: ModelName) -> str:
    return ""


LOAD = Verb(_why_not_load, _load)
EVICT = Verb(_why_not_evict, _evict)
PIN = Verb(_always, _pin)
FORCE_CPU = Verb(_always, _cpu)
MOVE = Verb(_why_not_move, _move)
