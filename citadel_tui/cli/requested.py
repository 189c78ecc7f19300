"""The engine's command that the arguments ask for; running it and planning it read them the same way."""

from __future__ import annotations

from argparse import Namespace

from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Unpin


def requested(verb: str, arguments: Namespace) -> Command:
    model: str = arguments.model
    match verb:
        case "load":
            return Load(model, arguments.on)
        case "evict":
            return Evict(model)
        case "pin":
            return SetPin(model, arguments.on)
        case "unpin":
            return Unpin(model)
        case "cpu":
            return LeaveCpu(model) if arguments.back else ForceCpu(model)
        case "move":
            return Move(model, arguments.device)
        case _:
            raise ValueError(f"the parser has a verb that nobody carries out: {verb}")
