"""Proposals: what the engine would do of its own accord if somebody agreed, with what each part gains and costs."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from msgspec import Struct

from engine.core.commands import Batch
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan


class Rebalance(Struct, frozen=True, tag="rebalance"):
    """Put the models where the present demand is served with the fewest seconds of reloading."""


class Drain(Struct, frozen=True, tag="drain"):
    """Take everything off `device`, to other devices as far as that pays."""

    device: DeviceId
    """In a fleet also a box's name: its commands are then carried out one by one, and the box is told to take nothing new."""


class Pack(Struct, frozen=True, tag="pack"):
    """Free one device entirely: `device`, or the one that is cheapest to free."""

    device: DeviceId | None = None


class Undo(Struct, frozen=True, tag="undo"):
    """Take the operator's last change back that has not been taken back yet."""


Wish: TypeAlias = Rebalance | Drain | Pack | Undo


def wish_text(wish: Wish) -> str:
    """What is wished for, in a few words: "drain gpu0"."""
    match wish:
        case Rebalance():
            return "rebalance"
        case Drain(device):
            return f"drain {device}"
        case Pack(device):
            return f"pack {device or 'a device'} free"
        case Undo():
            return "undo"
        case _:
            assert_never(wish)


class Gain(Struct, frozen=True):
    """One model that changes its place, and what that is worth."""

    model: ModelName
    source: DeviceId | None
    """Where it is now; None for no device."""
    target: DeviceId | None
    gain_s: float
    """Seconds of reloading that it is expected to save, in the unit of `costs.loss_s`; negative when it costs some."""
    cost_s: float
    """Seconds that the move is predicted to take."""
    why: str


class Proposal(Struct, frozen=True, tag="proposal"):
    """A batch that answers `wish`, as it would be carried out now. Submit `command`, confirming `plan.effects`."""

    wish: Wish
    command: Batch
    plan: Plan
    gains: tuple[Gain, ...] = ()
    reasons: tuple[str, ...] = ()
    """What a person should know of the whole, each one sentence."""
