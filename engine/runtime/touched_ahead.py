"""How much memory is touched ahead of its first use: what the first loads will need, as far as the host has it to spare."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from engine.core.names import DeviceId
from engine.core.sizes import GIB
from engine.core.state import State

SPARED_SHARE: Final = 0.25
"""Of what the host has available: touched memory is taken, whether a model ever comes to lie in it or not."""
MOST_BYTES: Final = GIB
"""Of the RAM tier, and of each device: the first switches should not pay, the rest can be touched by them."""


class TouchedAhead(Struct, frozen=True):
    ram_tier_bytes: int
    device_bytes: dict[DeviceId, int]
    """Of devices in host RAM."""


def touched_ahead(state: State, available_bytes: int) -> TouchedAhead:
    """The RAM tier first, then the devices in order."""
    left_bytes = int(available_bytes * SPARED_SHARE)
    ram_tier_bytes = min(state.ram.budget_bytes, MOST_BYTES, left_bytes)
    left_bytes -= ram_tier_bytes
    device_bytes: dict[DeviceId, int] = {}
    for device, known in state.devices.items():
        if known.spec.backing == "ram":
            budget_bytes = int(known.spec.total_bytes * known.spec.fraction)
            device_bytes[device] = min(budget_bytes, MOST_BYTES, left_bytes)
            left_bytes -= device_bytes[device]
    return TouchedAhead(ram_tier_bytes, device_bytes)
