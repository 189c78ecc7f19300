"""Changes of place: who may move, what each change gains and costs, which only make sense together, and in what order they are
carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from engine.core.commands import Evict, Load, Move, Single
from engine.core.forecast.costs import load_step, loss_s
from engine.core.forecast.demand import HORIZON_REQUESTS, expected_requests
from engine.core.ledger import budget
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.placement import gpus
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
    """Seconds of reloading that having `model` on the GPU `device` is expected to save, in the unit of `costs.loss_s`."""
    return loss_s(state, Resident(model, device, "ready", state.models[model].footprint, 0.0))


def arrival(state: State, model: ModelName, source: DeviceId | None, target: DeviceId) -> Gain:
    """`model` comes to the GPU `target` from no device, or from the CPU."""
    load_s = load_step(state, model, target).predicted.p50_s
    wanted = f"{expected_requests(state, model):.1f} of the next {HORIZON_REQUESTS} requests are expected to be for it"
    why = f"comes back from the CPU; {wanted}" if source == CPU else wanted
    return Gain(model, source, target, held_s(state, model, target), load_s, why)


def gain_of_leaving(state: State, resident: Resident, why: str) -> Gain:
    """`resident` leaves for the RAM tier or the disk."""
    return Gain(resident.model, resident.device, None, -loss_s(state, resident), 0.0, why)


def transfer(state: State, resident: Resident, target: DeviceId, why: str) -> Gain:
    """`resident` moves to the GPU `target`, which saves nothing by itself."""
    load_s = load_step(state, resident.model, target).predicted.p50_s
    return Gain(resident.model, resident.device, target, 0.0, load_s, why)


def movable(state: State) -> tuple[Resident, ...]:
    """Residents that are ready and idle, not pinned, in one place only, and that could be loaded elsewhere as they are; by
    name."""
    places = Counter(r.model for r in state.residents)
    able = (r for r in state.residents if places[r.model] == 1 and _may_move(state, r))
    return tuple(sorted(able, key=lambda r: r.model))


def room_without(state: State, gone: Iterable[Resident]) -> dict[DeviceId, int]:
    """Bytes that are free for models on each healthy GPU when `gone` are not there; below 0 where others took what was ours.

    What is leaving still counts: nobody knows when its bytes will be free.
    """
    absent = set(gone)
    rooms = {d: budget(state, d) - state.devices[d].leaked_bytes for d in gpus(state) if _healthy(state, d)}
    for resident in state.residents:
        if resident.device in rooms and resident not in absent:
            rooms[resident.device] -= resident.footprint.total_bytes
    return rooms


def _may_move(state: State, resident: Resident) -> bool:
    model = state.models[resident.model]
    return (
        resident.stage == "ready"
        and not resident.leases
        and model.pin is None
        and not model.trouble
        and _healthy(state, resident.device)
        and model.footprint.total_bytes <= resident.footprint.total_bytes
    )


def _healthy(state: State, device: DeviceId) -> bool:
    return state.devices[device].reading.health == "ok"


def arranged(state: State, gains: Iterable[Gain]) -> tuple[Single, ...]:
    """Commands that carry `gains` out, which together must fit, in an order in which no device ever holds more than it may.

    A moving model needs its room on the target while it still is on its source, since it answers there until it has come. So
    models can wait for each other's room in a circle, though all fit in the end: then the one that loads fastest leaves first,
    and comes from the RAM tier or the disk once its room is there.
    """
    changes = sorted(gains, key=lambda g: g.model)
    order = _Order(state)
    for gain in changes:
        if gain.target is None:
            order.evict(gain)
    coming = [gain for gain in changes if gain.target is not None]
    while coming:
        chosen = order.next_of(coming)
        if chosen is not None:
            order.bring(chosen)
            coming.remove(chosen)
        else:
            broken = min((g for g in coming if g.source in order.left_bytes), key=lambda g: (g.cost_s, g.model))
            order.evict(broken)
            coming[coming.index(broken)] = replace(broken, source=None)
    return tuple(order.commands)


class _Order:
    """The commands so far, and the room that they leave."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.left_bytes = room_without(state, ())
        self.commands: list[Single] = []

    def evict(self, gain: Gain) -> None:
        self._leave(gain)
        copied = gain.source is not None and self._state.beside(gain.model, gain.source)
        self.commands.append(Evict(gain.model, gain.source if copied else None))

    def bring(self, gain: Gain) -> None:
        assert gain.target is not None
        self.left_bytes[gain.target] -= self._size_bytes(gain)
        self._leave(gain)
        self.commands.append(Load(gain.model, gain.target) if gain.source is None else Move(gain.model, gain.target))

    def next_of(self, coming: Iterable[Gain]) -> Gain | None:
        """What fits now: first what frees room elsewhere, then the largest."""
        # Who comes from nowhere frees nothing, and could take the room that a circle needs to come apart. The largest first,
        # since the small ones find room later, too.
        fitting = [g for g in coming if g.target and self._size_bytes(g) <= self.left_bytes[g.target]]
        return min(
            fitting,
            key=lambda g: (g.source not in self.left_bytes, -self._size_bytes(g), g.model),
            default=None,
        )

    def _leave(self, gain: Gain) -> None:
        here = self._state.find(gain.model, gain.source) if gain.source is not None else None
        if here is not None and here.device in self.left_bytes:
            self.left_bytes[here.device] += here.footprint.total_bytes

    def _size_bytes(self, gain: Gain) -> int:
        return self._state.models[gain.model].footprint.total_bytes
