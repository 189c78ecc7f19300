"""States for tests: small boxes of devices and models, sizes in whole MiB."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Reading
from engine.core.forecast.demand import SPANS_REQUESTS
from engine.core.models import Footprint, ModelSpec, Pin
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.prediction import Rates
from engine.core.sizes import MIB
from engine.core.state import DeviceState, ModelState, RamTier, Resident, Slab, Stage, State

NOW_S = 1_000_000.0


def box(
    models: Mapping[ModelName, int],
    gpus: Mapping[DeviceId, int] | None = None,
    *,
    cpu: int = 10_000,
    max_models: int = 2,
) -> State:
    """Healthy devices and prepared models. A GPU of 100 has a budget of 80: the fraction is 0.8."""
    gpus = gpus if gpus is not None else {"gpu0": 100, "gpu1": 100}
    specs = [DeviceSpec(d, "virtual GPU in host RAM", "gpu", "ram", mib * MIB, 0.8) for d, mib in gpus.items()]
    specs.append(DeviceSpec(CPU, "CPU", "cpu", "host", cpu * MIB, 1.0))
    return State(
        devices={s.id: DeviceState(s, Reading("ok", "", 0, 0, at_s=NOW_S), Rates(worker_rate(s.id))) for s in specs},
        models={
            name: ModelState(
                ModelSpec(name, (f"path:/models/{name}",), "embedding"),
                Footprint(mib * MIB, 0),
                f"path:/models/{name}",
                prepared=True,
            )
            for name, mib in models.items()
        },
        ram=RamTier(10_000 * MIB, max_models),
    )


def worker_rate(device: DeviceId) -> float:
    return 1e12 if device == CPU else 1e9


def with_resident(
    state: State,
    model: ModelName,
    device: DeviceId,
    *,
    stage: Stage = "ready",
    leases: int = 0,
    since_s: float = NOW_S - 1000,
) -> State:
    resident = Resident(model, device, stage, state.models[model].footprint, since_s, leases)
    state = replace(state, residents=(*state.residents, resident))
    return with_slab(state, model) if device == CPU else state


def with_slab(state: State, model: ModelName) -> State:
    slab = Slab(model, state.models[model].footprint.weights_bytes, "kept", NOW_S)
    return replace(state, ram=replace(state.ram, slabs=(*state.ram.slabs, slab)))


def with_pin(state: State, model: ModelName, device: DeviceId | None = None) -> State:
    return replace(state, models={**state.models, model: replace(state.models[model], pin=Pin(device))})


def with_demand(state: State, model: ModelName, weight: float, *, last_s: float = NOW_S - 10) -> State:
    known = state.models[model]
    weights = (weight,) * len(SPANS_REQUESTS)
    demand = replace(known.demand, weights=weights, at_request=state.request_count, requests=int(weight), last_s=last_s)
    return replace(state, models={**state.models, model: replace(known, demand=demand)})


def with_reading(state: State, device: DeviceId, reading: Reading) -> State:
    return replace(state, devices={**state.devices, device: replace(state.devices[device], reading=reading)})
