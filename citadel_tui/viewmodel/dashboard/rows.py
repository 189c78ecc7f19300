"""The model table's facts: one row a model, whatever it is doing and wherever it rests; a row as text, and the words that rows
are filtered by: parts of names, and `state:ready`, `on:gpu0`, `on:box2`, `pin:`, `task:embedding`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from msgspec import Struct

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Role
from citadel_tui.words.boxes import UNHEARD
from citadel_tui.words.figures import count_text, idle_text, leaves_in_text, seconds_text
from citadel_tui.words.labels import model_label
from citadel_tui.words.requests import latency_text, rate_text
from engine.api import JobView, Snapshot
from engine.core.boxes import is_heard
from engine.core.insight.request_figures import RequestFigures
from engine.core.names import ModelName, box_of, within_box
from engine.core.records import Switch
from engine.core.sizes import mib
from engine.core.state import ModelState, Resident
from engine.core.tasks import TaskKind, unit_of_work


class ModelRow(Struct, frozen=True):
    """What the table says of one model."""

    name: ModelName
    block: Role
    """Its colour."""
    synthetic: bool
    where: str
    """Its device or those of its copies, `from→to` while it moves, or the tier it rests in."""
    places: tuple[str, ...]
    """The same, one by one."""
    state: str
    state_role: Role
    size_mib: int
    pin: str
    leases: int
    waiting: int
    """Requests that have no device yet."""
    per_s: float
    """Rows or tokens a second, of the last minute."""
    first_part_s: float | None
    """Of the last minutes, as the next one: the median, and what one of twenty answers takes longer than."""
    p95_s: float | None
    answered: int
    """How many answers these times are of."""
    per_minute: float
    idle_s: float | None
    last_switch_s: float | None
    task: TaskKind
    dtype: str
    source: str
    note: str
    """In words: what is wrong with it, or what it waits for."""


def model_rows(scene: Scene, glyphs: Glyphs) -> list[ModelRow]:
    """Rows of all models, in catalog order."""
    if scene.snapshot is None:
        return []
    switches = scene.last_switches()
    return [_row(scene, scene.snapshot, name, switches, glyphs) for name in scene.snapshot.state.models]


def _row(
    scene: Scene, snapshot: Snapshot, name: ModelName, switches: Mapping[ModelName, Switch], glyphs: Glyphs
) -> ModelRow:
    model = snapshot.state.models[name]
    residents = snapshot.state.of(name)
    jobs = scene.jobs_of(name)
    state, role = _state(snapshot, model, residents, jobs)
    switch = switches.get(name)
    places = _places(snapshot, name, residents)
    figures = snapshot.requests.get(name, RequestFigures())
    return ModelRow(
        name=name,
        block=scene.colours.block(name),
        synthetic=model.synthetic,
        where=_where(places, residents, jobs, glyphs),
        places=places,
        state=state,
        state_role=role,
        size_mib=mib(snapshot.state.footprint_of(name).total_bytes),
        pin=_pin(model, glyphs),
        leases=sum(r.leases for r in residents),
        waiting=figures.waiting,
        per_s=figures.per_s,
        first_part_s=figures.first_part_s,
        p95_s=figures.p95_s,
        answered=figures.answered,
        per_minute=model.demand.per_minute,
        idle_s=None if model.demand.last_s is None else scene.now_s - model.demand.last_s,
        last_switch_s=switch.total_s if switch else None,
        task=model.spec.task,
        dtype=model.spec.dtype,
        source=glyphs.text(model.source),
        note=_note(model, jobs, glyphs),
    )


def _where(places: tuple[str, ...], residents: tuple[Resident, ...], jobs: tuple[JobView, ...], glyphs: Glyphs) -> str:
    """Copies stand side by side, also one that comes or leaves alone; an arrow leads to where a model moves."""
    plans = [job.plan for job in jobs if job.plan]
    loads = [load for plan in plans for load in plan.loads if residents and load.model == residents[0].model]
    stays = bool(plans) and all(load.stays for load in loads)
    return (" " if stays or all(r.stage == "ready" for r in residents) else glyphs.arrow).join(places)


def _places(snapshot: Snapshot, name: ModelName, residents: tuple[Resident, ...]) -> tuple[str, ...]:
    if residents:
        on_its_way = sorted(residents, key=lambda r: r.stage in ("pending", "loading"))
        return tuple(r.device for r in on_its_way)
    return ("ram" if any(s.model == name and s.stage == "kept" for s in snapshot.state.ram.slabs) else "disk",)


def _state(
    snapshot: Snapshot, model: ModelState, residents: tuple[Resident, ...], jobs: tuple[JobView, ...]
) -> tuple[str, Role]:
    """A word for what happens to it now, the most telling one first."""
    if residents and not any(is_heard(snapshot.boxes, resident.device) for resident in residents):
        return UNHEARD, "warn"
    moving = next((r for r in residents if r.stage != "ready"), None)
    if moving is not None:
        return _moving(moving, jobs)
    if residents:
        left = leaves_in_text(snapshot.state, residents, snapshot.at_s)
        return f"ready {left}".rstrip(), "good"
    if any(s.model == model.spec.name and s.stage != "kept" for s in snapshot.state.ram.slabs):
        return "reading", "warn"
    if model.trouble:
        return "trouble", "bad"
    if jobs:
        return ("waiting" if jobs[0].waiting_for else "queued"), "warn"
    return "resting", "dim"


def _moving(resident: Resident, jobs: tuple[JobView, ...]) -> tuple[str, Role]:
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


def _note(model: ModelState, jobs: tuple[JobView, ...], glyphs: Glyphs) -> str:
    if model.trouble:
        return glyphs.text(model.trouble)
    return next((f"waits for {glyphs.text(j.waiting_for)}" for j in jobs if j.waiting_for), "")


def row_text(row: ModelRow) -> str:
    """Its figures, each with its name or unit."""
    facts = [
        f"{model_label(row.name, synthetic=row.synthetic)}: {row.where}, {row.state}",
        f"{row.size_mib} MiB",
        "pinned" if row.pin else "",
        count_text(row.leases, "lease", "leases"),
        f"{row.waiting} waiting" if row.waiting else "",
        f"{row.per_minute:.1f} requests a minute",
        f"{rate} {unit_of_work(row.task)} a second" if (rate := rate_text(row.per_s)) else "",
        _times_text(row),
        "" if row.idle_s is None else f"idle {idle_text(row.idle_s)}",
        "" if row.last_switch_s is None else f"last switch {seconds_text(row.last_switch_s)}",
    ]
    return ", ".join(filter(None, facts))


def _times_text(row: ModelRow) -> str:
    if row.p95_s is None:
        return ""
    answers = count_text(row.answered, "answer", "answers")
    return f"first part {latency_text(row.first_part_s)}, p95 {latency_text(row.p95_s)} of {answers}"


# ── filter words ──────────────────────────────────────────────────────────────────────────────────

_FACETS: Final[dict[str, Callable[[ModelRow], tuple[str, ...]]]] = {
    "state": lambda row: (row.state,),
    "on": lambda row: tuple(name for place in row.places for name in _names(place)),
    "pin": lambda row: _names(row.pin),
    "task": lambda row: (row.task,),
    "dtype": lambda row: (row.dtype,),
}

FACETS: Final = ", ".join(f"{name}:" for name in _FACETS)


class Filter(Struct, frozen=True):
    """What the shown models have in common: all of the words."""

    names: tuple[str, ...] = ()
    facets: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    """Words with a colon that are none of ours; they are left out, and said."""


def parse_filter(text: str) -> Filter:
    """The words of `text`, in any case and order."""
    words = [word.partition(":") for word in text.casefold().split()]
    return Filter(
        names=tuple(head for head, colon, _ in words if not colon),
        facets=tuple((head, value) for head, colon, value in words if colon and head in _FACETS),
        unknown=tuple(f"{head}:" for head, colon, _ in words if colon and head not in _FACETS),
    )


def admits(wanted: Filter, row: ModelRow) -> bool:
    """Whether `row` has all that is wanted."""
    name = row.name.casefold()
    return all(part in name for part in wanted.names) and all(
        any(_begins(text.casefold(), value) for text in _FACETS[facet](row)) for facet, value in wanted.facets
    )


def _names(place: str) -> tuple[str, ...]:
    """All that a place may be asked for by: the whole, its box, and what that calls it."""
    return place, box_of(place), within_box(place)


def _begins(text: str, value: str) -> bool:
    """Whether `text`, unless it is empty, begins as `value`; `gpu1` must not find gpu10."""
    return bool(text) and (text == value or (text.startswith(value) and not value[-1:].isdigit()))
