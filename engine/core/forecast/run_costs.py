"""What requests take of a device: learned for each model on each kind of device from the runs that it has answered, and from
that the seconds of a queue.

Work is counted as tasks count it (`Task.work`): rows, or the most tokens that may be written. A run is charged the device's
time, not its own: of a batch or a step that it shared, its share. So the runs of a queue add up to what the device takes for
all of them, whoever ran beside whom.
"""

from __future__ import annotations

from statistics import median
from typing import Final

from msgspec.structs import replace

from engine.core.names import DeviceId, ModelName
from engine.core.prediction import NOTHING, Prediction, Rates, learn, predict
from engine.core.state import Resident, State

UNKNOWN: Final = Rates(guess_bytes_per_s=100.0, overhead_s=0.02)
"""Before anything has run: 10 ms for each row or token, and as much as two of them for what does not depend on their number. The
multiples of this guess that runs have taken are what is learned, so its shape matters more than its size."""


def ran(state: State, model: ModelName, device: DeviceId, work: int, device_s: float) -> State:
    """`state` after a run of so much work, which took `device_s` of the device."""
    known, kind = state.models[model], state.devices[device].spec.title
    rates = learn(known.run_rates.get(kind, UNKNOWN), work, device_s)
    learned = replace(known, run_rates={**known.run_rates, kind: rates})
    return replace(state, models={**state.models, model: learned})


def is_known(state: State, model: ModelName, device: DeviceId) -> bool:
    """Whether a run of the model on such a device has been measured."""
    return state.devices[device].spec.title in state.models[model].run_rates


def queue_s(state: State, model: ModelName, device: DeviceId, requests: int, work: int) -> Prediction:
    """Seconds of the device for so many requests that ask for `work` together, from the guess where nothing is known."""
    if requests < 1:
        return NOTHING
    rates = state.models[model].run_rates.get(state.devices[device].spec.title, UNKNOWN)
    return predict(rates, max(1, round(work / requests))).times(requests)


def drain_s(state: State, model: ModelName, device: DeviceId) -> Prediction:
    """Seconds until what runs of the model on the device has ended, if nothing more comes. Each run counts as if it had only
    just begun, and another model's runs there take turns with it for as long as there are any of both."""
    resident = state.find(model, device)
    if resident is None:
        return NOTHING
    return _beside_others_s(state, resident)


def answered_s(state: State, model: ModelName, device: DeviceId, work: int) -> float:
    """Seconds until a request for so much work that comes to the device now, where the model is, is expected to be answered."""
    resident = state.find(model, device)
    assert resident is not None
    return _beside_others_s(state, replace(resident, leases=resident.leases + 1, work=resident.work + work)).p50_s


def lost_on_cpu_s(state: State, model: ModelName, cpu: DeviceId, gpu: DeviceId) -> float | None:
    """Seconds that a usual request of the model takes longer on `cpu` than on `gpu`; None until both have been measured."""
    if not (is_known(state, model, cpu) and is_known(state, model, gpu)):
        return None
    samples = state.models[model].run_rates[state.devices[cpu].spec.title].samples
    work = round(median(sample.size_bytes for sample in samples))
    slow, fast = (queue_s(state, model, device, 1, work).p50_s for device in (cpu, gpu))
    return max(0.0, slow - fast)


def _beside_others_s(state: State, resident: Resident) -> Prediction:
    """All that runs of `resident`, and of each other model on its device as much as takes turns with that."""
    own = _in_flight_s(state, resident)
    others = [_in_flight_s(state, other) for other in state.on(resident.device) if other.model != resident.model]
    return sum((min(own, other, key=lambda p: p.p50_s) for other in others), own)


def _in_flight_s(state: State, resident: Resident) -> Prediction:
    return queue_s(state, resident.model, resident.device, resident.leases, resident.work)
