"""The shell command that does what an engine's command does."""

from __future__ import annotations

from shlex import join
from typing import assert_never

from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Single, Unpin, singles_of
from engine.core.names import DeviceId


def command_line(command: Command) -> str:
    """What to type in a shell; several commands are carried out as long as each succeeds."""
    return " && ".join(join(["citadel", *_words(single)]) for single in singles_of(command))


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
