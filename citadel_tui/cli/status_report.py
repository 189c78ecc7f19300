"""The engine's state as a versioned report in plain numbers: what `status --json` prints and the tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from citadel_tui.viewmodel.memory_map import occupancy
from citadel_tui.words.alerts import RECENT_S, Alert, alerts
from citadel_tui.words.health import age_s_of, shown_reading
from engine.api import Hello, JobView, Snapshot
from engine.core.boxes import BoxView
from engine.core.commands import Command
from engine.core.devices import Health, Neighbour
from engine.core.insight.request_figures import RequestFigures
from engine.core.models import Dtype, Pin, RunRange
from engine.core.names import BoxName, DeviceId, ModelName, box_of
from engine.core.records import PhaseName, Record
from engine.core.state import DeviceState, ModelState, Resident, Stage, leaves_at_s
from engine.core.tasks import TaskKind

STATUS_VERSION: Final = 1


class DeviceStatus(Struct, frozen=True):
    id: DeviceId
    title: str
    health: Health
    reason: str
    models_bytes: int
    """What the engine has placed there, loads under way included."""
    used_bytes: int | None
    """All that the device says is used, ours and others'; None when it does not say."""
    external_bytes: int | None
    budget_bytes: int
    total_bytes: int
    percent_of_budget: float | None
    """Of the budget, what our models take and what has leaked."""
    percent_of_total: float | None
    """Of the device, what is used."""
    leaked_bytes: int
    temperature_c: int | None
    utilization_percent: int | None
    read_at_s: float
    """When it last gave figures, seconds since the epoch; 0 when it never did."""
    age_s: float | None
    """How old they are, by the steady clock; None when it never gave any."""
    residents: list[ModelName]
    backing: str
    context_bytes: int
    """What the worker takes beside the models, whether it tells of it or not."""
    neighbours: list[Neighbour]
    """Processes that are not ours."""
    worker_pid: int | None
    copy_bytes_per_s: float | None
    uuid: str | None
    """Of the card that it is or is a slice of; None in host RAM."""
    bus_id: str | None
    power_w: float | None
    power_limit_w: float | None
    clocks_mhz: tuple[int, int] | None
    """Of the graphics engine and of the memory."""
    fan_percent: int | None
    performance_state: int | None
    driver: str
    """The versions of the driver and of CUDA; empty for what is no card."""
    box: BoxName
    """Whose it is in a fleet; empty where there is only one."""


class ResidentStatus(Struct, frozen=True):
    device: DeviceId
    stage: Stage
    progress: float | None
    leases: int
    since_s: float
    leaves_at_s: float | None
    """When it will have been idle for as long as it may be; None where it stays."""


class ModelStatus(Struct, frozen=True):
    name: ModelName
    task: TaskKind
    dtype: Dtype
    source: str
    synthetic: bool
    weights_bytes: int
    workspace_bytes: int
    footprint: str
    """How the bytes are known: estimated, measured or learned."""
    runs: RunRange | None
    """What measured runs took beside the weights; None where the devices can't tell."""
    pin: Pin | None
    places: list[ResidentStatus]
    requests: int
    requests_per_minute: float
    last_request_s: float | None
    request_figures: RequestFigures | None
    """How its requests fare lately; None when none came since the engine started."""
    trouble: str


class JobStatus(Struct, frozen=True):
    id: str
    command: Command
    phase: PhaseName
    elapsed_s: float
    waiting_for: str


class RamStatus(Struct, frozen=True):
    budget_bytes: int
    used_bytes: int
    max_models: int
    kept: list[ModelName]


class StatusReport(Struct, frozen=True):
    version: int
    at_s: float
    engine: Hello
    devices: list[DeviceStatus]
    models: list[ModelStatus]
    ram: RamStatus
    jobs: list[JobStatus]
    quiet_sample_s: float | None
    """Seconds between two readings of a device while a benchmark has the engine keep quiet; None when nobody does."""
    alerts: list[Alert]
    """What lasts, then what is over."""
    boxes: dict[BoxName, BoxView]
    """Of a fleet, in the operator's order; empty where one engine speaks for itself."""


class Unavailable(Struct, frozen=True):
    """What takes the report's place when there is no engine to ask."""

    version: int
    error: str


def status_report(hello: Hello, snapshot: Snapshot, records: Sequence[Record]) -> StatusReport:
    state = snapshot.state
    return StatusReport(
        version=STATUS_VERSION,
        at_s=snapshot.at_s,
        engine=hello,
        devices=device_statuses(snapshot),
        models=[_model(snapshot, model) for model in state.models.values()],
        ram=RamStatus(
            state.ram.budget_bytes,
            sum(slab.size_bytes for slab in state.tier_slabs),
            state.ram.max_models,
            [slab.model for slab in state.tier_slabs if slab.stage == "kept"],
        ),
        jobs=[_job(job) for job in snapshot.jobs],
        quiet_sample_s=snapshot.quiet_sample_s,
        alerts=list(alerts(hello, snapshot, records, snapshot.at_s - RECENT_S)),
        boxes=snapshot.boxes,
    )


def device_statuses(snapshot: Snapshot) -> list[DeviceStatus]:
    return [_device(snapshot, device) for device in snapshot.state.devices.values()]


def _device(snapshot: Snapshot, device: DeviceState) -> DeviceStatus:
    spec, reading = device.spec, shown_reading(snapshot, device.spec.id)
    age_s = age_s_of(snapshot, spec.id)
    residents = snapshot.state.on(spec.id)
    parts = occupancy(snapshot, spec.id)  # what the console's bars are made of
    return DeviceStatus(
        id=spec.id,
        title=spec.title,
        health=reading.health,
        reason=reading.reason,
        models_bytes=parts.charged_bytes - parts.leaked_bytes,
        used_bytes=reading.used_bytes,
        external_bytes=reading.external_bytes,
        budget_bytes=parts.budget_bytes,
        total_bytes=spec.total_bytes,
        percent_of_budget=_percent(parts.charged_bytes, parts.budget_bytes),
        percent_of_total=_percent(reading.used_bytes, spec.total_bytes),
        leaked_bytes=parts.leaked_bytes,
        temperature_c=reading.temperature_c,
        utilization_percent=reading.utilization_percent,
        read_at_s=reading.at_s,
        age_s=None if age_s is None else round(age_s, 3),
        residents=[resident.model for resident in residents],
        backing=spec.backing,
        context_bytes=parts.context_bytes,
        neighbours=list(reading.neighbours),
        worker_pid=device.worker_pid,
        copy_bytes_per_s=device.copy_bytes_per_s,
        uuid=spec.uuid,
        bus_id=spec.bus_id,
        power_w=reading.power_w,
        power_limit_w=reading.power_limit_w,
        clocks_mhz=reading.clocks_mhz,
        fan_percent=reading.fan_percent,
        performance_state=reading.performance_state,
        driver=reading.driver,
        box=box_of(spec.id),
    )


def _model(snapshot: Snapshot, model: ModelState) -> ModelStatus:
    residents = snapshot.state.of(model.spec.name)
    footprint = snapshot.state.footprint_of(model.spec.name)  # what the console's table has
    return ModelStatus(
        name=model.spec.name,
        task=model.spec.task,
        dtype=model.spec.dtype,
        source=model.source,
        synthetic=model.synthetic,
        weights_bytes=footprint.weights_bytes,
        workspace_bytes=footprint.workspace_bytes,
        footprint=footprint.label,
        runs=model.footprint.runs,
        pin=model.pin,
        places=[_place(snapshot, r) for r in residents],
        requests=model.demand.requests,
        requests_per_minute=model.demand.per_minute,
        last_request_s=model.demand.last_s,
        request_figures=snapshot.requests.get(model.spec.name),
        trouble=model.trouble,
    )


def _place(snapshot: Snapshot, resident: Resident) -> ResidentStatus:
    leaves_s = leaves_at_s(snapshot.state, resident)
    return ResidentStatus(
        resident.device, resident.stage, resident.progress, resident.leases, resident.since_s, leaves_s
    )


def _job(job: JobView) -> JobStatus:
    return JobStatus(job.id, job.command, job.phase, job.elapsed_s, job.waiting_for)


def _percent(part_bytes: int | None, whole_bytes: int) -> float | None:
    return round(100 * part_bytes / whole_bytes, 1) if part_bytes is not None and whole_bytes else None
