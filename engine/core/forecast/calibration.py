"""What a finished switch teaches of the devices and the disk: the same from the one just done as from one in the journal."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.prediction import learn, predict
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep
from engine.core.records import Switch
from engine.core.state import DeviceState, State


def learned(state: State, switch: Switch) -> State:
    """`state` with what `switch` showed. One that came to nothing, on whose way something went wrong, or that brought several
    models, whose phases nobody can tell apart, shows nothing."""
    if switch.outcome != "done" or switch.reason or len(switch.plan.loads) > 1:
        return state
    leaving = [s for s in switch.plan.steps if isinstance(s, EvictStep)]
    copied_back = any(s.copied_back for s in leaving)  # then the phase is the copies', nearly all of it
    if not copied_back and all(_is_known(state, s) for s in leaving):
        for step in leaving:
            state = _evicted(state, step, switch.phases.evict / len(leaving))
    load = switch.plan.load
    return state if load is None or not _is_known(state, load) else _loaded(state, load, switch)


def warmed(state: State, model: ModelName, device: DeviceId) -> State:
    """`state` once the worker of `device` knows `model`."""
    known = state.devices[device]
    return state if model in known.warmed else _with(state, device, replace(known, warmed=(*known.warmed, model)))


def _is_known(state: State, step: EvictStep | LoadStep) -> bool:
    """A record may name what the configuration no longer holds."""
    return step.model in state.models and step.device in state.devices


def _evicted(state: State, step: EvictStep, seconds: float) -> State:
    known, weights_bytes = state.devices[step.device], state.models[step.model].footprint.weights_bytes
    return _with(state, step.device, replace(known, evicting=learn(known.evicting, weights_bytes, seconds)))


def _loaded(state: State, load: LoadStep, switch: Switch) -> State:
    weights_bytes, phases = state.models[load.model].footprint.weights_bytes, switch.phases
    state = _with(state, load.device, _bound(state.devices[load.device], weights_bytes, switch))
    state = _with_fastest_reading(state, weights_bytes, switch)
    if phases.drain or phases.settle or any(isinstance(s, EvictStep) and s.copied_back for s in switch.plan.steps):
        return state  # the reading began long before its phase did
    match switch.tier:
        case "disk":
            return replace(state, disk=learn(state.disk, weights_bytes, switch.reading_s or phases.read))
        case "source":
            return replace(state, source=learn(state.source, weights_bytes, phases.read))
        case "ram" | None:
            return state


def _with_fastest_reading(state: State, weights_bytes: int, switch: Switch) -> State:
    """Whenever the reading began: all of it was timed."""
    rate = weights_bytes / switch.reading_s if switch.reading_s else 0.0
    return replace(state, disk_bytes_per_s=max(rate, state.disk_bytes_per_s or 0.0) or None)


def _bound(known: DeviceState, weights_bytes: int, switch: Switch) -> DeviceState:
    """The device after the copy, the binding and, for a model that was new to its worker, the first run."""
    phases = switch.phases
    if known.spec.id != CPU:
        known = _copied(known, weights_bytes, switch)
    if phases.warm:
        return replace(known, first_binding=learn(known.first_binding, weights_bytes, phases.bind + phases.warm))
    return replace(known, binding=learn(known.binding, weights_bytes, phases.bind))


def _copied(known: DeviceState, weights_bytes: int, switch: Switch) -> DeviceState:
    """A copy beside a reading only shows how long it takes at most, which is better than a guess."""
    copy_s = switch.phases.copy
    if switch.tier == "ram":
        rate = weights_bytes / copy_s if copy_s > 0 else 0.0
        fastest = max(rate, known.copy_bytes_per_s or 0.0) or None
        return replace(known, rates=learn(known.rates, weights_bytes, copy_s), copy_bytes_per_s=fastest)
    at_most_s = switch.phases.read + copy_s
    if known.copy_bytes_per_s is None and at_most_s < predict(known.rates, weights_bytes).p50_s:
        return replace(known, rates=learn(known.rates, weights_bytes, at_most_s))
    return known


def _with(state: State, device: DeviceId, known: DeviceState) -> State:
    return replace(state, devices={**state.devices, device: known})
