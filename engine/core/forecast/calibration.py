"""What a finished switch teaches of the devices and the disk, the same from the one just done as from one in the journal; and
the least time that its bytes need, which its efficiency is measured against."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, Tier
from engine.core.prediction import learn, predict
from engine.core.records import Switch
from engine.core.state import DeviceState, State


def learned(state: State, switch: Switch) -> State:
    """`state` with what `switch` showed. One that came to nothing, on whose way something went wrong, or that brought several
    models, whose phases nobody can tell apart, shows nothing."""
    if switch.outcome != "done" or switch.reason or len(switch.plan.loads) > 1:
        return state
    leaving = [s for s in switch.plan.steps if isinstance(s, EvictStep)]
    written_back = any(s.written_back for s in leaving)  # then the phase is the copies', nearly all of it
    if not written_back and all(_is_known(state, s) for s in leaving):
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
    if phases.drain or phases.settle or any(isinstance(s, EvictStep) and s.written_back for s in switch.plan.steps):
        return state  # the reading began long before its phase did
    match switch.tier:
        case "disk":
            seconds = switch.reading_s or phases.read
            if switch.from_page_cache:
                rates = state.page_cache or replace(state.disk, samples=())
                return replace(state, page_cache=learn(rates, weights_bytes, seconds))
            return replace(state, disk=learn(state.disk, weights_bytes, seconds))
        case "source":
            return replace(state, source=learn(state.source, weights_bytes, phases.prepare + phases.read))
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


def floor_s(state: State, switch: Switch) -> float | None:
    """Seconds that the bytes of its loads need, one load after the other; None when a rate has not been measured yet, and when no
    byte moves.

    Bytes are copied as fast as the fastest copy that was measured on the device, and come from disk as fast as the fastest
    reading that was, both at once. What was read before the switch waited for it counts as read. What preparing needs nobody
    can tell: only the copy behind it counts.
    """
    loads = switch.plan.loads
    read = from_disk(loads, switch.tier)
    copies_s = _sum([_copy_s(state, load) for load in loads])
    moves_s = _sum([_read_s(state, load) if load in read else _copy_s(state, load) for load in loads])
    if copies_s is None or moves_s is None:
        return None
    head_start_s = max(0.0, (switch.reading_s or 0.0) - switch.phases.read)
    return max(copies_s, moves_s - head_start_s) or None


def from_disk(loads: Sequence[LoadStep], tier: Tier | None) -> Sequence[LoadStep]:
    """Those of a switch's `loads` that read their slabs from disk. `tier` is where a single one really started; of several, it
    is taken that each started where it was planned to."""
    if len(loads) == 1 and tier is not None:
        return loads if tier == "disk" else ()
    return [load for load in loads if load.tier == "disk"]


def _read_s(state: State, load: LoadStep) -> float | None:
    """A reading, and the copy that runs behind it."""
    copy_s, rate = _copy_s(state, load), state.disk_bytes_per_s
    if copy_s is None or not rate:
        return None
    return max(copy_s, state.models[load.model].footprint.weights_bytes / rate)


def _copy_s(state: State, load: LoadStep) -> float | None:
    """The CPU runs from the RAM tier itself."""
    if load.device == CPU:
        return 0.0
    rate = state.devices[load.device].copy_bytes_per_s
    return state.models[load.model].footprint.weights_bytes / rate if rate else None


def _sum(seconds: Sequence[float | None]) -> float | None:
    known_s = [one_s for one_s in seconds if one_s is not None]
    return sum(known_s) if len(known_s) == len(seconds) else None
