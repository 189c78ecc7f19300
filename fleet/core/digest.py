"""What a view is told of a box, taken from the box's own state: what it has now, and what it is; and in which order what it has
should come elsewhere when it is drained."""

from __future__ import annotations

from statistics import median
from typing import Final

from engine.core.forecast.costs import load_step, load_time, loss_s
from engine.core.forecast.run_costs import drain_s, queue_s
from engine.core.names import BoxName, ModelName
from engine.core.state import Resident, State
from fleet.core.view import Copy, Digest, FleetView, Member

COMING: Final = ("pending", "loading")
"""Stages of a copy that is about to be ready."""


def digest_of(state: State) -> Digest:
    """Its copies that are ready or coming, and the slabs in its RAM tier that are whole. Devices are named as the box does."""
    staying = [resident for resident in state.residents if resident.stage in ("ready", *COMING)]
    return Digest(
        tuple(_copy(state, resident) for resident in staying),
        frozenset(slab.model for slab in state.ram.slabs if slab.stage == "kept"),
    )


def member_of(state: State, *, is_ready: bool, is_drained: bool) -> Member:
    """Its GPU memory, all of it, since what others leave free changes by the second; and the models of its catalog that are not
    in trouble and that would fit its largest GPU, or, where it has none, its CPU."""
    gpus = [device.spec for device in state.devices.values() if device.spec.kind == "gpu"]
    holders = gpus or [device.spec for device in state.devices.values()]
    room_bytes = max((int(spec.fraction * spec.total_bytes) for spec in holders), default=0)
    models = frozenset(
        name for name, known in state.models.items() if not known.trouble and known.footprint.total_bytes <= room_bytes
    )
    return Member(sum(spec.total_bytes for spec in gpus), models, is_ready, is_drained)


def drain_order(view: FleetView, box: BoxName, state: State) -> dict[ModelName, float]:
    """The models that would be on no open box without `box`, whose state this is, and the seconds that the absence of each is
    expected to cost: those first that cost most, so that a drain that is broken off has done the most that it could. Each is
    then chosen a box for like any other load."""
    closed = view.drained_boxes | {box}
    lost_s: dict[ModelName, float] = {}
    for resident in state.residents:
        model = resident.model
        if resident.stage in ("ready", *COMING) and all(place.box in closed for place in view.copies(model)):
            lost_s[model] = max(lost_s.get(model, 0.0), loss_s(state, resident))
    return {model: lost_s[model] for model in sorted(lost_s, key=lambda model: (-lost_s[model], model))}


def _copy(state: State, resident: Resident) -> Copy:
    model, device = resident.model, resident.device
    loading_s = 0.0
    if resident.stage in COMING:
        loading_s = load_step(state, model, device).predicted.p50_s * (1.0 - (resident.progress or 0.0))
    return Copy(
        model,
        device,
        drain_s(state, model, device).p50_s,
        _service_s(state, resident),
        load_time(state, model, device, "ram").p50_s,
        loading_s,
    )


def _service_s(state: State, resident: Resident) -> float:
    """What a usual request takes of the device: as its last runs there did, or else as the guess has it for one row or token."""
    known = state.models[resident.model].run_rates.get(state.devices[resident.device].spec.title)
    work = round(median(sample.size_bytes for sample in known.samples)) if known and known.samples else 1
    return queue_s(state, resident.model, resident.device, 1, work).p50_s
