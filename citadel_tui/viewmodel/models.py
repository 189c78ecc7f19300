"""The model table's facts: one row a model, whatever it is doing and wherever it rests."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, assert_never

from msgspec import Struct

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Role
from engine.api import Job, Snapshot
from engine.core.names import ModelName
from engine.core.sizes import mib
from engine.core.state import ModelState, Resident

SortKey: TypeAlias = Literal["catalog", "name", "where", "size", "requests", "idle"]
SORT_KEYS: Final[tuple[SortKey, ...]] = ("catalog", "name", "where", "size", "requests", "idle")


class ModelRow(Struct, frozen=True):
    """What the table says of one model."""

    name: ModelName
    synthetic: bool
    where: str
    """Its device, `from→to` while it moves, or the tier it rests in."""
    state: str
    state_role: Role
    size_mib: int
    pin: str
    leases: int
    per_minute: float
    idle_s: float | None
    last_switch_s: float | None
    task: str
    dtype: str
    source: str
    note: str
    """In words: what is wrong with it, or what it waits for."""


def model_rows(scene: Scene, glyphs: Glyphs, sort: SortKey = "catalog", wanted: str = "") -> list[ModelRow]:
    """Rows of the models whose name holds `wanted`, in the order of `sort`; equal ones in catalog order."""
    snapshot = scene.snapshot
    if snapshot is None:
        return []
    names = [name for name in snapshot.state.models if wanted.casefold() in name.casefold()]
    rows = [_row(scene, snapshot, name, glyphs) for name in names]
    return _sorted(rows, sort)


def _sorted(rows: list[ModelRow], sort: SortKey) -> list[ModelRow]:
    match sort:
        case "catalog":
            return rows
        case "name":
            return sorted(rows, key=lambda r: r.name.casefold())
        case "where":
            return sorted(rows, key=lambda r: (not r.where.startswith("gpu"), r.where != "cpu", r.where))
        case "size":
            return sorted(rows, key=lambda r: -r.size_mib)
        case "requests":
            return sorted(rows, key=lambda r: -r.per_minute)
        case "idle":
            return sorted(rows, key=lambda r: float("inf") if r.idle_s is None else r.idle_s)
        case _:
            assert_never(sort)


def _row(scene: Scene, snapshot: Snapshot, name: ModelName, glyphs: Glyphs) -> ModelRow:
    model = snapshot.state.models[name]
    residents = snapshot.state.of(name)
    jobs = scene.jobs_of(name)
    state, role = _state(snapshot, model, residents, jobs)
    switch = scene.last_switch(name)
    footprint = residents[-1].footprint if residents else model.footprint
    return ModelRow(
        name=name,
        synthetic=model.synthetic,
        where=_where(snapshot, name, residents, glyphs),
        state=state,
        state_role=role,
        size_mib=mib(footprint.total_bytes),
        pin=_pin(model, glyphs),
        leases=sum(r.leases for r in residents),
        per_minute=model.demand.per_minute,
        idle_s=None if model.demand.last_s is None else scene.now_s - model.demand.last_s,
        last_switch_s=switch.total_s if switch else None,
        task=model.spec.task,
        dtype=model.spec.dtype,
        source=glyphs.text(model.source),
        note=_note(model, jobs, glyphs),
    )


def _where(snapshot: Snapshot, name: ModelName, residents: tuple[Resident, ...], glyphs: Glyphs) -> str:
    if residents:
        on_its_way = sorted(residents, key=lambda r: r.stage in ("pending", "loading"))
        return glyphs.arrow.join(r.device for r in on_its_way)
    return "ram" if any(s.model == name and s.stage == "kept" for s in snapshot.state.ram.slabs) else "disk"


def _state(
    snapshot: Snapshot, model: ModelState, residents: tuple[Resident, ...], jobs: tuple[Job, ...]
) -> tuple[str, Role]:
    """A word for what happens to it now, the most telling one first."""
    moving = next((r for r in residents if r.stage != "ready"), None)
    if moving is not None:
        return _moving(moving, jobs)
    if residents:
        return "ready", "good"
    if any(s.model == model.spec.name and s.stage == "reading" for s in snapshot.state.ram.slabs):
        return "reading", "warn"
    if model.trouble:
        return "trouble", "bad"
    if jobs:
        return ("waiting" if jobs[0].waiting_for else "queued"), "warn"
    return "resting", "dim"


def _moving(resident: Resident, jobs: tuple[Job, ...]) -> tuple[str, Role]:
    match resident.stage:
        case "pending":
            return "pending", "warn"
        case "loading":
            phase = jobs[0].phase if jobs else "load"
            share = "" if resident.progress is None else f" {100 * resident.progress:.0f}%"
            return phase + share, "warn"
        case "draining" | "leaving":
            return resident.stage, "leaving"
        case "ready":
            return "ready", "good"
        case _:
            assert_never(resident.stage)


def _pin(model: ModelState, glyphs: Glyphs) -> str:
    """A mark, or the device that it is pinned to when it has to stay on that one."""
    if model.pin is None:
        return ""
    return model.pin.device or glyphs.pinned


def _note(model: ModelState, jobs: tuple[Job, ...], glyphs: Glyphs) -> str:
    if model.trouble:
        return glyphs.text(model.trouble)
    return next((f"waits for {glyphs.text(j.waiting_for)}" for j in jobs if j.waiting_for), "")
