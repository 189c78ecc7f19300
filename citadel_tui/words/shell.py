"""The shell command that does what an engine's command does, and the command that brings a model to where it is."""

from __future__ import annotations

from shlex import join
from typing import assert_never

from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Single, Unpin, singles_of
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.state import State


def command_line(command: Command) -> str:
    """What to type in a shell; several commands are carried out as long as each succeeds."""
    return " && ".join(join(["citadel", *_words(single)]) for single in singles_of(command))


def placing(state: State, model: ModelName) -> Command:
    """What would bring `model` to where it is; a load on the best device when it is on none."""
    pin = state.models[model].pin
    if pin is not None and pin.device == CPU:
        return ForceCpu(model)
    device = next((resident.device for resident in state.of(model)), None)
    return Load(model, device)


def _words(command: Single) -> tuple[str, ...]:
    match command:
        case Load(model=model, device=device):
            return ("load", model, *_on(device))
        case Evict(model=model):
            return ("evict", model)
        case SetPin(model=model, device=device):
            return ("pin", model, *_on(device))
        case Unpin(model=model):
            return ("unpin", model)
        case ForceCpu(model=model):
            return ("cpu", model)
        case LeaveCpu(model=model):
            return ("cpu", model, "--back")
        case Move(model=model, device=device):
            return ("move", model, device)
        case _:
            assert_never(command)


def _on(device: DeviceId | None) -> tuple[str, ...]:
    return ("--on", device) if device else ()
