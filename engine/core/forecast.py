"""What a load will take and what losing a resident will cost, from the state alone."""

from __future__ import annotations

from typing import Final

from engine.core.demand import decayed_weight
from engine.core.latency import Prediction, predict
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import LoadStep, Tier
from engine.core.policy import Policy
from engine.core.state import Resident, State

_PRIOR_REQUESTS: Final = 0.1
"""Demand that a resident has before anybody asked for it: somebody put it there, so losing it is not free."""
_PREPARE_BYTES_PER_S: Final = 200e6
"""Reading a checkpoint, building the model and writing its slab; a guess, since it happens once per model."""


def tier_of(state: State, model: ModelName) -> Tier:
    """Where a load of `model` would start from now."""
    if any(s.model == model and s.stage == "kept" for s in state.ram.slabs):
        return "ram"
    return "disk" if state.models[model].prepared else "source"


def load_step(state: State, model: ModelName, device: DeviceId) -> LoadStep:
    """The load of `model` to `device`, with its predicted time."""
    tier = tier_of(state, model)
    footprint = state.models[model].footprint
    weights = footprint.weights_bytes
    predicted = predict(state.devices[device].rates, 0 if device == CPU else weights)
    if tier != "ram":
        predicted += predict(state.disk, weights)
    if tier == "source":
        seconds = weights / _PREPARE_BYTES_PER_S
        predicted += Prediction(seconds, 3 * seconds)
    return LoadStep(model, device, footprint.total_bytes, tier, predicted)


def loss_s(state: State, resident: Resident) -> float:
    """Seconds of reloading that evicting `resident` is expected to cost: its decayed demand × the reload's predicted time."""
    demand = decayed_weight(state, resident.model)
    return (demand + _PRIOR_REQUESTS) * load_step(state, resident.model, resident.device).predicted.p50_s


def victim_costs(state: State, policy: Policy) -> dict[ModelName, float]:
    """What losing each resident costs under `policy`. Seconds for `expected_loss`; ranks for the orders by use, doubled from
    one to the next, so that a set costs more than another when its most used member is more used."""
    residents = sorted(state.residents, key=lambda r: r.model)
    match policy.eviction:
        case "expected_loss":
            return {r.model: loss_s(state, r) for r in residents}
        case "lru":
            order = sorted(residents, key=lambda r: state.models[r.model].demand.last_s or 0.0)
        case "lfu":
            order = sorted(residents, key=lambda r: state.models[r.model].demand.requests)
    return {r.model: float(2**rank) for rank, r in enumerate(order)}
