"""Everything that a key can do, once: key bindings, footer, help and palette are all made from this registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from citadel_tui.viewmodel.scene import Scene
from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Unpin
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.state import State


class Choice(Struct, frozen=True):
    """One way to carry a verb out."""

    label: str
    command: Command


WhyNot: TypeAlias = Callable[[Scene, ModelName | None], str]
Choices: TypeAlias = Callable[[State, ModelName], tuple[Choice, ...]]


class Action(Struct, frozen=True):
    """Something that the operator can do with one key."""

    id: str
    key: str
    """As Textual calls it; `0-9` stands for each digit."""
    verb: str
    """The word in footer and palette."""
    help: str
    why_not: WhyNot = lambda scene, model: ""
    """Why it can't be done now, in words; empty when it can."""
    choices: Choices | None = None
    """For what changes the engine's state: the ways to do it, the likeliest first."""
    footer: bool = True

    @property
    def key_text(self) -> str:
        """The key as a person writes it."""
        return _KEY_TEXTS.get(self.key, self.key)


_KEY_TEXTS: Final = {"slash": "/", "question_mark": "?", "colon": ":", "escape": "esc"}


def _verb(why_not: Callable[[State, ModelName], str]) -> WhyNot:
    """A verb's condition, behind those that all verbs have."""

    def reason(scene: Scene, model: ModelName | None) -> str:
        if scene.read_only:
            return "this console is read-only"
        if scene.lost is not None or scene.snapshot is None:
            return "there is no line to the engine"
        if model is None or model not in scene.snapshot.state.models:
            return "no model is selected"
        return why_not(scene.snapshot.state, model)

    return reason


def _why_not_load(state: State, model: ModelName) -> str:
    trouble = state.models[model].trouble
    ready = next((r for r in state.of(model) if r.stage == "ready"), None)
    if ready is not None:
        return f"{model} is on {ready.device} already; m moves it"
    return f"{model} can't be loaded: {trouble}" if trouble else ""


def _why_not_evict(state: State, model: ModelName) -> str:
    return "" if state.of(model) else f"{model} is on no device"


def _why_not_move(state: State, model: ModelName) -> str:
    return _why_not_evict(state, model) or ("" if _move(state, model) else "there is no other device")


def _placeable(state: State) -> list[DeviceId]:
    return [device for device, known in state.devices.items() if known.reading.health == "ok"]


def _load(state: State, model: ModelName) -> tuple[Choice, ...]:
    devices = _placeable(state)
    best = (Choice("auto: the cheapest device", Load(model)),) if len(devices) > 1 else ()
    return best + tuple(Choice(device, Load(model, device)) for device in devices)


def _evict(state: State, model: ModelName) -> tuple[Choice, ...]:
    return (Choice("evict", Evict(model)),)


def _pin(state: State, model: ModelName) -> tuple[Choice, ...]:
    if state.models[model].pin is not None:
        return (Choice("unpin", Unpin(model)),)
    return (Choice("pin", SetPin(model)),)


def _cpu(state: State, model: ModelName) -> tuple[Choice, ...]:
    pin = state.models[model].pin
    if pin is not None and pin.device == CPU:
        return (Choice("back to a GPU", LeaveCpu(model)),)
    return (Choice("run on the CPU", ForceCpu(model)),)


def _move(state: State, model: ModelName) -> tuple[Choice, ...]:
    here = {r.device for r in state.of(model)}
    return tuple(Choice(device, Move(model, device)) for device in _placeable(state) if device not in here)


ACTIONS: Final = (
    Action("load", "l", "Load", "make the model ready on a device", _verb(_why_not_load), _load),
    Action("evict", "e", "Evict", "take the model off every device", _verb(_why_not_evict), _evict),
    Action("pin", "p", "Pin", "never make the model a victim; again: let it be one", _verb(lambda s, m: ""), _pin),
    Action("cpu", "c", "CPU", "run the model on the CPU; again: back to a GPU", _verb(lambda s, m: ""), _cpu),
    Action("move", "m", "Move", "make the model ready on another device", _verb(_why_not_move), _move),
    Action("find", "slash", "Find", "show only models whose name holds what you type"),
    Action("sort", "s", "Sort", "sort the table by the next column"),
    Action(
        "device", "0-9", "Device", "all about gpu0 to gpu9: budget, health, other programs; the palette has the CPU"
    ),
    Action("details", "enter", "Details", "all about the model, or the switch in the log", footer=False),
    Action("other", "tab", "Table/log", "go from the table to the log and back", footer=False),
    Action("palette", "colon", "Palette", "find any verb for any model, or a device (also ctrl+p)", footer=False),
    Action("back", "escape", "Back", "go back; take back the selected model's load under way", footer=False),
    Action("help", "question_mark", "Help", "this page"),
    Action("quit", "q", "Quit", "leave the console; the engine and its models stay"),
)

BY_ID: Final = {action.id: action for action in ACTIONS}
VERBS: Final = tuple(action for action in ACTIONS if action.choices is not None)


def choices_of(action: Action, scene: Scene, model: ModelName) -> tuple[Choice, ...]:
    """The ways to carry `action` out for `model` on what is known now."""
    return action.choices(scene.snapshot.state, model) if action.choices and scene.snapshot else ()
