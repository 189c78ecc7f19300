"""Where a model can go: each device's cheapest offer, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from engine.core.devices import condition
from engine.core.forecast.costs import load_step, loss_s, reload_s
from engine.core.planning.eviction import Leaver, victims
from engine.core.ledger import budget, headroom
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import Alternative, Blocker, BlockerWhy, LoadStep, Room
from engine.core.policy import Policy
from engine.core.sizes import format_size
from engine.core.state import Resident, State
from engine.core.planning.knapsack_cover import Need


class Offer(Struct, frozen=True):
    """A device and the victims that would make room for the model there."""

    load: LoadStep
    victims: tuple[Resident, ...]
    victims_cost: tuple[float, ...]
    """In the policy's own unit; compares offers, the lowest first."""
    loss_s: float
    """Expected seconds of reloading the victims."""
    free_after_bytes: int
    room: Room
    """What the device has before anything leaves it."""

    @property
    def device(self) -> DeviceId:
        return self.load.device

    def as_alternative(self, why_not: str) -> Alternative:
        """This offer, as one that lost."""
        return Alternative(
            device=self.device,
            victims=tuple(v.model for v in self.victims),
            predicted=self.load.predicted,
            cost_s=self.loss_s + self.load.predicted.p50_s,
            why_not=why_not,
        )


class NoOffer(Struct, frozen=True):
    """A device that can't take the model, and why."""

    room: Room
    blockers: tuple[Blocker, ...]


def offer(state: State, model: ModelName, device: DeviceId, policy: Policy, now_s: float) -> Offer | NoOffer:
    """The cheapest way to have `model` on `device`."""
    need = state.models[model].footprint.total_bytes
    room = Room(device, budget(state, device), max(0, headroom(state, device)))
    reading = state.devices[device].reading
    if reading.health != "ok":
        return NoOffer(_noted(room, f"{condition(reading.health)}: {reading.reason}"), ())
    if need > room.budget_bytes:
        return NoOffer(_noted(room, f"its whole budget is {format_size(room.budget_bytes)}"), ())
    here = state.find(model, device)
    if here is not None:
        return NoOffer(_noted(room, f"{model} is {here.stage} there"), (_blocker(here, "leaving"),))
    evictable, blockers = _evictable(state, device, policy, now_s)
    leavers = [Leaver(r.model, r.footprint.total_bytes, reload_s(state, r)) for r in evictable]
    missing_bytes = need - headroom(state, device)
    choice = victims(state, leavers, Need(missing_bytes), policy, now_s)
    if choice is None:
        return NoOffer(room, blockers)
    chosen = tuple(r for r in evictable if r.model in choice.models)
    return Offer(
        load=load_step(state, model, device),
        victims=chosen,
        victims_cost=choice.cost,
        loss_s=sum(loss_s(state, v) for v in chosen),
        free_after_bytes=choice.freed_bytes - missing_bytes,
        room=room,
    )


def best_first(state: State, offers: Iterable[Offer], policy: Policy) -> list[Offer]:
    """Offers in the order of preference: fewest expected losses, the catalog's preferred device, then the balancing."""

    def rank(offered: Offer) -> tuple[list[float], int, bool, float, list[DeviceId]]:
        preferred = state.models[offered.load.model].spec.preferred_device
        return (
            [round(cost, 6) for cost in offered.victims_cost],
            len(offered.victims),
            offered.device != preferred,
            _balance_key(state, offered, policy),
            [offered.device],
        )

    return sorted(offers, key=rank)


def gpus(state: State) -> tuple[DeviceId, ...]:
    return tuple(d for d in state.devices if d != CPU)


def _balance_key(state: State, offered: Offer, policy: Policy) -> float:
    match policy.balancing:
        case "spread":
            staying = [r for r in state.on(offered.device) if r not in offered.victims]
            return len(staying) - offered.free_after_bytes / state.devices[offered.device].spec.total_bytes
        case "most_free":
            return -offered.free_after_bytes
        case "pack":
            return offered.free_after_bytes


def _evictable(
    state: State, device: DeviceId, policy: Policy, now_s: float
) -> tuple[list[Resident], tuple[Blocker, ...]]:
    evictable, blockers = [], []
    for resident in state.on(device):
        why = _why_not_evictable(state, resident, policy, now_s)
        if why is None:
            evictable.append(resident)
        elif why != "leaving":
            blockers.append(_blocker(resident, why))
    return evictable, tuple(blockers)


def _why_not_evictable(state: State, resident: Resident, policy: Policy, now_s: float) -> BlockerWhy | None:
    if resident.stage in ("pending", "loading"):
        return "loading"
    if resident.stage in ("draining", "leaving"):
        return "leaving"
    if state.models[resident.model].pin is not None:
        return "pinned"
    if resident.leases:
        return "leased"
    if now_s - resident.since_s < policy.min_residency_s:
        return "too young"
    return None


def _blocker(resident: Resident, why: BlockerWhy) -> Blocker:
    return Blocker(resident.model, resident.device, resident.footprint.total_bytes, why)


def _noted(room: Room, note: str) -> Room:
    return Room(room.device, room.budget_bytes, room.free_bytes, note)
