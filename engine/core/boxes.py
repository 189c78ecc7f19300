"""The machines of a fleet, as a screen shows them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from engine.core.names import BoxName, DeviceId, box_of

BoxStanding: TypeAlias = Literal["ready", "silent", "unreachable", "other version"]
"""`ready` is the only state in which a box is sent requests. `silent`: its last sign of life is older than `STALE_S`; what is
shown of it carries that age. `other version`: its engine speaks another protocol, so that nothing is known of it."""


class BoxView(Struct, frozen=True, gc=False):
    """A machine of a fleet, and how its engine was last heard."""

    standing: BoxStanding
    why: str = ""
    """Why it is not ready, in words."""
    heard_s: float = 0.0
    """When it last gave a sign of life, seconds since the epoch; 0 for never."""
    silent_s: float = 0.0
    """How long that was ago at the snapshot's moment, on the fleet's steady clock."""
    host: str = ""
    """What the machine calls itself; empty before it was heard for the first time."""
    version: str = ""
    """Of its engine."""
    banner: str = ""
    """What every screen must say of its engine: that its GPUs are virtual."""
    drained: bool = False
    """The operator has it take nothing new."""
    started_at_s: float = 0.0
    """When its engine started, seconds since the epoch; 0 before it was heard for the first time."""


def is_heard(boxes: dict[BoxName, BoxView], device: DeviceId) -> bool:
    """Whether what is known of the device is of now, as far as its box goes."""
    box = boxes.get(box_of(device))
    return box is None or box.standing == "ready"
