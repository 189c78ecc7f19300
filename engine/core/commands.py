"""What can be asked of the engine, one type a verb."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.names import DeviceId, ModelName

Origin: TypeAlias = Literal["operator", "request", "config", "restore"]
"""Who asked: a person, a request for a model that was not ready, the preload list, or a restart."""


class Load(Struct, frozen=True, tag="load"):
    """Make the model ready on `device`, or on the best one when None."""

    model: ModelName
    device: DeviceId | None = None


class Evict(Struct, frozen=True, tag="evict"):
    """Take the model off every device."""

    model: ModelName


class SetPin(Struct, frozen=True, tag="pin"):
    """Never make the model a victim; with a device, keep it there."""

    model: ModelName
    device: DeviceId | None = None


class Unpin(Struct, frozen=True, tag="unpin"):
    """Let the model be a victim again."""

    model: ModelName


class ForceCpu(Struct, frozen=True, tag="cpu"):
    """Run the model on the CPU and pin it there."""

    model: ModelName


class LeaveCpu(Struct, frozen=True, tag="leave-cpu"):
    """Undo ForceCpu: unpin the model and load it on the best GPU."""

    model: ModelName


class Move(Struct, frozen=True, tag="move"):
    """Make the model ready on `device`, then take it off where it is."""

    model: ModelName
    device: DeviceId


Command: TypeAlias = Load | Evict | SetPin | Unpin | ForceCpu | LeaveCpu | Move


class Submission(Struct, frozen=True):
    """A command on its way to the engine."""

    id: str
    """Made by the client; sending the same id again does nothing twice."""
    command: Command
    origin: Origin = "operator"
    confirmed: str | None = None
    """`Plan.effects` of the plan that the operator agreed to. The engine plans again; when the effects differ, it answers
    `Changed` and does nothing. None accepts whatever the plan is."""
