"""Where an arriving model goes when several devices are equally good: the catalog's preference, then the operator's balancing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.core.proposing.multiple_knapsack import Item
from engine.core.names import DeviceId, ModelName
from engine.core.policy import Balancing
from engine.core.state import State


def balanced(
    state: State,
    items: Iterable[Item],
    placements: Mapping[ModelName, DeviceId],
    rooms: Mapping[DeviceId, int],
    balancing: Balancing,
) -> dict[ModelName, DeviceId]:
    """`placements` of the same items, each that has no home on the device that is preferred among those where it fits."""
    ordered = sorted(items, key=lambda i: (-i.value, i.name))
    settled = dict(placements)
    left = dict(rooms)
    for item in ordered:
        if item.name in settled:
            left[settled[item.name]] -= item.size_bytes
    for item in ordered:
        if item.name in settled and item.home is None:
            left[settled.pop(item.name)] += item.size_bytes
            fitting = {device: free for device, free in left.items() if free >= item.size_bytes}
            preferred = state.models[item.name].spec.preferred_device
            ranks = _ranks(fitting, settled, balancing)
            settled[item.name] = min(fitting, key=lambda d: (d != preferred, ranks[d]))
            left[settled[item.name]] -= item.size_bytes
    return settled


def _ranks(
    fitting: Mapping[DeviceId, int], settled: Mapping[ModelName, DeviceId], balancing: Balancing
) -> dict[DeviceId, int]:
    match balancing:
        case "spread":
            there = list(settled.values())
            return {device: there.count(device) for device in fitting}
        case "most_free":
            return {device: -free for device, free in fitting.items()}
        case "pack":
            return dict(fitting)
