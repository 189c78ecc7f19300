"""What a load or an eviction will take, and what losing a resident will cost, from the state alone."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from engine.core.forecast.demand import expected_requests
from engine.core.forecast.queueing import saved_s
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import LoadStep, Tier
from engine.core.prediction import NOTHING, Prediction, predict
from engine.core.state import Resident, State


def tier_of(state: State, model: ModelName) -> Tier:
    """Where a load of `model` would start from now."""
    slab = state.ram.find(model)
    if slab is not None and slab.stage == "kept":
        return "ram"
    return "disk" if state.models[model].prepared else "source"


def load_step(state: State, model: ModelName, device: DeviceId) -> LoadStep:
    """The load of `model` to `device`, with its predicted time."""
    tier, footprint = tier_of(state, model), state.models[model].footprint
    return LoadStep(model, device, footprint.total_bytes, tier, load_time(state, model, device, tier))


def load_step_now(state: State, model: ModelName, device: DeviceId) -> LoadStep:
    """The same if it begins now: with the wait for readings that are under way."""
    step = load_step(state, model, device)
    return step if step.tier == "ram" else replace(step, predicted=_readings_before(state, model) + step.predicted)


def load_time(state: State, model: ModelName, device: DeviceId, tier: Tier) -> Prediction:
    """Time for bringing `model` from `tier` to `device` and binding it there."""
    return _arrival(state, model, device, tier) + _binding(state, model, device)


def eviction(state: State, model: ModelName, device: DeviceId) -> Prediction:
    """Time for taking `model` off `device` once no lease holds it there."""
    return predict(state.devices[device].evicting, state.models[model].footprint.weights_bytes)


def reload_s(state: State, resident: Resident) -> float:
    """Seconds that bringing `resident` back to its device would take now, as often less as more."""
    return load_step(state, resident.model, resident.device).predicted.p50_s


def loss_s(state: State, resident: Resident) -> float:
    """Seconds that evicting `resident` is expected to cost within the next requests (`HORIZON_REQUESTS`): of reloading, or of
    waiting for the copies that stay."""
    if others := state.beside(resident.model, resident.device):
        return saved_s(state, resident.model, len(others))
    return expected_requests(state, resident.model) * reload_s(state, resident)


def reading(state: State, model: ModelName, size_bytes: int) -> Prediction:
    """Time for reading so much of the model's prepared slab into the RAM tier: from the page cache, where that holds it."""
    is_near = state.page_cache is not None and state.models[model].in_page_cache
    return predict(state.page_cache if is_near and state.page_cache is not None else state.disk, size_bytes)


def _readings_before(state: State, model: ModelName) -> Prediction:
    """What is left of other loads' readings, which end before one of `model` begins: slabs are read one after the other.

    One that is read ahead gives way, and preparing a model is little reading.
    """
    before = NOTHING
    for slab in state.ram.slabs:
        is_read = slab.stage in ("reading", "filling") and state.models[slab.model].prepared
        if is_read and slab.model != model and not slab.ahead:
            done = max((r.progress or 0.0 for r in state.of(slab.model)), default=0.0)
            before += reading(state, slab.model, slab.size_bytes).times(1 - done)
    return before


def _arrival(state: State, model: ModelName, device: DeviceId, tier: Tier) -> Prediction:
    """Until the bytes are where `device` runs them: a copy goes on beside the reading that it follows, and the CPU runs from
    the RAM tier itself."""
    weights_bytes = state.models[model].footprint.weights_bytes
    copying = NOTHING if device == CPU else predict(state.devices[device].rates, weights_bytes)
    match tier:
        case "ram":
            return copying
        case "disk":
            return copying.beside(reading(state, model, weights_bytes))
        case "source":
            return copying.beside(predict(state.source, weights_bytes))
        case _:
            assert_never(tier)


def _binding(state: State, model: ModelName, device: DeviceId) -> Prediction:
    known = state.devices[device]
    path = known.binding if model in known.warmed else known.first_binding
    return predict(path, state.models[model].footprint.weights_bytes)
