"""Who leaves a device without being in anybody's way: models that have been idle for long enough, and idle ones that stand on
memory which other programs have taken meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core import ledger
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.eviction import eviction_policy, leaver_of
from engine.core.planning.knapsack_cover import Need
from engine.core.state import Resident, Situation, State, leaves_at_s


def idle_too_long(state: State, now_s: float) -> tuple[Resident, ...]:
    """The residents that have been idle for as long as they may be."""
    return tuple(
        r
        for r in state.residents
        if r.stage == "ready" and (due_s := leaves_at_s(state, r)) is not None and due_s <= now_s
    )


def forgotten(state: State, now_s: float) -> frozenset[ModelName]:
    """The models that rest, and that nobody has asked for, for twice as long as they may be idle: neither are their weights kept
    in the RAM tier, nor are they read into it."""
    return frozenset(
        name
        for name, known in state.models.items()
        if known.keep_alive_s is not None
        and known.pin is None
        and not state.of(name)
        and now_s - _used_s(state, name) >= 2 * known.keep_alive_s
    )


def _used_s(state: State, model: ModelName) -> float:
    """When it was last asked for or brought, seconds since the epoch."""
    slab = state.ram.find(model)
    return max(state.models[model].demand.last_s or 0.0, slab.used_s if slab is not None else 0.0)


def yielding(situation: Situation, device: DeviceId) -> tuple[ModelName, ...]:
    """The idle models that leave the GPU, since other programs have left less of it than its models stand on; the cheapest to
    lose, as the eviction policy has it, and as many as that takes."""
    state = situation.state
    missing_bytes = -ledger.headroom(state, device)
    if device == CPU or missing_bytes <= 0 or state.devices[device].reading.health != "ok":
        return ()
    idle = [r for r in state.on(device) if r.stage == "ready" and not r.leases and not state.is_pinned(r)]
    return _cheapest(situation, idle, missing_bytes)


def _cheapest(situation: Situation, residents: Sequence[Resident], missing_bytes: int) -> tuple[ModelName, ...]:
    """Of these, whoever makes up for what is missing; all of them where that is not enough, since each byte helps who is left."""
    eviction = eviction_policy(situation.policy)
    ordered = eviction.order(situation, [leaver_of(situation.state, r) for r in residents])
    chosen = eviction.choose(ordered, Need(missing_bytes))
    return tuple(c.name for c in (ordered if chosen is None else chosen))
