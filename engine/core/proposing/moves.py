"""What changes of place gain and cost: each change's seconds, and which changes only make sense together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.core.forecast.demand import HORIZON_REQUESTS, expected_requests
from engine.core.forecast.costs import load_step, loss_s
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.proposals import Gain
from engine.core.state import Resident, State


class Exchange(NamedTuple):
    """Changes that share devices: some make the room that others need."""

    devices: frozenset[DeviceId]
    gains: tuple[Gain, ...]

    @property
    def gain_s(self) -> float:
        return sum(gain.gain_s for gain in self.gains)

    @property
    def cost_s(self) -> float:
        return sum(gain.cost_s for gain in self.gains)

    @property
    def pays(self) -> bool:
        """Whether it is expected to save more seconds of reloading than it takes."""
        return self.gain_s > self.cost_s


def exchanges(gains: Iterable[Gain]) -> tuple[Exchange, ...]:
    """`gains` in the smallest groups that don't touch each other's GPUs."""
    groups: list[Exchange] = []
    for gain in gains:
        devices = frozenset(d for d in (gain.source, gain.target) if d not in (None, CPU))
        joined = [group for group in groups if group.devices & devices]
        groups = [group for group in groups if group not in joined]
        everywhere = devices.union(*(group.devices for group in joined))
        groups.append(Exchange(everywhere, (*(g for group in joined for g in group.gains), gain)))
    return tuple(groups)


def held_s(state: State, model: ModelName, device: DeviceId) -> float:
    """Seconds of reloading that having `model` on the GPU `device` is expected to save, in the unit of `forecast.loss_s`."""
    return loss_s(state, Resident(model, device, "ready", state.models[model].footprint, 0.0))


def arrival(state: State, model: ModelName, source: DeviceId | None, target: DeviceId) -> Gain:
    """`model` comes to the GPU `target` from no device, or from the CPU."""
    load_s = load_step(state, model, target).predicted.p50_s
    wanted = f"{expected_requests(state, model):.1f} of the next {HORIZON_REQUESTS} requests are expected to be for it"
    why = f"comes back from the CPU; {wanted}" if source == CPU else wanted
    return Gain(model, source, target, held_s(state, model, target), load_s, why)


def departure(state: State, resident: Resident, why: str) -> Gain:
    """`resident` leaves for the RAM tier or the disk."""
    return Gain(resident.model, resident.device, None, -loss_s(state, resident), 0.0, why)


def transfer(state: State, resident: Resident, target: DeviceId, why: str) -> Gain:
    """`resident` moves to the GPU `target`, which saves nothing by itself."""
    load_s = load_step(state, resident.model, target).predicted.p50_s
    return Gain(resident.model, resident.device, target, 0.0, load_s, why)
