"""Commands and steps in a few words, the same ones wherever they are shown."""

from __future__ import annotations

from typing import assert_never

from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Unpin


def command_text(command: Command) -> str:
    """What the command asks for: "load bge-base on gpu0"."""
    match command:
        case Load():
            return f"load {command.model}" + (f" on {command.device}" if command.device else "")
        case Evict():
            return f"evict {command.model}"
        case SetPin():
            return f"pin {command.model}" + (f" on {command.device}" if command.device else "")
        case Unpin():
            return f"unpin {command.model}"
        case ForceCpu():
            return f"run {command.model} on the CPU"
        case LeaveCpu():
            return f"take {command.model} back from the CPU"
        case Move():
            return f"move {command.model} to {command.device}"
        case _:
            assert_never(command)
