"""The boxes' snapshots as one: pure, and as much work as there is news.

What a box said is put into the fleet's names when it says it, and kept; what several boxes say of one model is put together again
where one of them says something else than before. A snapshot of the fleet then only strings together what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from engine.api import JobView, Snapshot
from engine.core.boxes import BoxView
from engine.core.insight.request_figures import RequestFigures
from engine.core.names import BoxName, DeviceId, ModelName, on_box
from engine.core.state import Change, DeviceState, ModelState, RamTier, Resident, Slab, State
from fleet.merged_models import merged_figures, merged_model
from fleet.naming import on


class _Part(Struct, frozen=True):
    """What one box has, in the fleet's names."""

    snapshot: Snapshot
    """As it was said."""
    devices: dict[DeviceId, DeviceState]
    budgets: dict[DeviceId, int]
    residents: tuple[Resident, ...]
    slabs: tuple[Slab, ...]
    jobs: tuple[JobView, ...]
    changes: tuple[Change, ...]


class Merge:
    """The newest of each box, and what it comes to together. Boxes are in the operator's order throughout."""

    def __init__(self, boxes: Iterable[BoxName] = ()) -> None:
        self._boxes: tuple[BoxName, ...] = tuple(boxes)
        self._parts: dict[BoxName, _Part] = {}
        self._models: dict[ModelName, ModelState] = {}
        self._figures: dict[ModelName, RequestFigures] = {}

    def reorder(self, boxes: Sequence[BoxName]) -> None:
        """The fleet has these boxes from now on."""
        self._boxes = tuple(boxes)
        self._parts = {box: self._parts[box] for box in boxes if box in self._parts}
        self._models, self._figures = {}, {}
        self._merge_models({name for part in self._parts.values() for name in part.snapshot.state.models})
        self._order_models()

    def take(self, box: BoxName, said: Snapshot, ahead_s: float, silent: str = "") -> None:
        """`box` said this. `ahead_s`: how far the fleet's steady clock is ahead of its own. `silent`: why what it said may no
        longer be so, in words."""
        before = self._parts.get(box)
        now = self._parts[box] = _part(box, said, ahead_s, silent)
        self._parts = {name: self._parts[name] for name in self._boxes if name in self._parts}
        self._merge_models(_changed_models(before, now))
        if before is None or tuple(before.snapshot.state.models) != tuple(said.state.models):
            self._order_models()

    def snapshot(self, seq: int, at_s: float, mono_s: float, boxes: dict[BoxName, BoxView]) -> Snapshot:
        """Everything that a screen shows of the fleet."""
        parts = tuple(self._parts.values())
        said = [part.snapshot for part in parts]
        first = said[0].state if said else State({}, {}, RamTier(0, 0))
        state = replace(
            first,
            devices={name: device for part in parts for name, device in part.devices.items()},
            models=dict(self._models),
            ram=_ram([one.state.ram for one in said], tuple(chain.from_iterable(part.slabs for part in parts))),
            residents=tuple(chain.from_iterable(part.residents for part in parts)),
            request_count=sum(one.state.request_count for one in said),
            changes=tuple(sorted(chain.from_iterable(part.changes for part in parts), key=lambda one: one.at_s)),
        )
        return Snapshot(
            seq,
            at_s,
            state,
            jobs=tuple(chain.from_iterable(part.jobs for part in parts)),
            budgets={name: bytes_ for part in parts for name, bytes_ in part.budgets.items()},
            requests=dict(self._figures),
            quiet_sample_s=max((one.quiet_sample_s for one in said if one.quiet_sample_s is not None), default=None),
            sample_s=max((one.sample_s for one in said), default=1.0),
            mono_s=mono_s,
            boxes=boxes,
        )

    def _merge_models(self, names: Iterable[ModelName]) -> None:
        for name in names:
            having = {box: part for box, part in self._parts.items() if name in part.snapshot.state.models}
            if not having:
                self._models.pop(name, None)
                self._figures.pop(name, None)
                continue
            known = {box: part.snapshot.state.models[name] for box, part in having.items()}
            here = {box: part.snapshot.state.places(name) for box, part in having.items()}
            self._models[name] = merged_model(known, here)
            told = [part.snapshot.requests[name] for part in having.values() if name in part.snapshot.requests]
            if told:
                self._figures[name] = merged_figures(told)
            else:
                self._figures.pop(name, None)

    def _order_models(self) -> None:
        """As the first box has them, then what others have beside."""
        order = dict.fromkeys(name for part in self._parts.values() for name in part.snapshot.state.models)
        self._models = {name: self._models[name] for name in order}


def _changed_models(before: _Part | None, now: _Part) -> set[ModelName]:
    """Those of which a box says something else than before, its copies included."""
    new = now.snapshot.state.models
    if before is None:
        return set(new)
    old = before.snapshot.state.models
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    changed |= {one.model for one in set(before.residents) ^ set(now.residents)}
    told, tells = before.snapshot.requests, now.snapshot.requests
    return changed | {name for name in told.keys() | tells.keys() if told.get(name) != tells.get(name)}


def _part(box: BoxName, said: Snapshot, ahead_s: float, silent: str) -> _Part:
    state = said.state
    return _Part(
        said,
        {on_box(box, name): _device(box, device, ahead_s, silent) for name, device in state.devices.items()},
        {on_box(box, name): bytes_ for name, bytes_ in said.budgets.items()},
        tuple(replace(one, device=on_box(box, one.device)) for one in state.residents),
        tuple(replace(slab, box=box) for slab in state.ram.slabs),
        tuple(on(box, job) for job in said.jobs),
        tuple(on(box, change) for change in state.changes),
    )


def _device(box: BoxName, known: DeviceState, ahead_s: float, silent: str) -> DeviceState:
    reading = known.reading
    cause = reading.cause and f"{box}: {reading.cause}"
    mono_s = None if reading.mono_s is None else reading.mono_s + ahead_s
    reading = replace(reading, reason=on(box, reading).reason, cause=cause, mono_s=mono_s)
    if silent and reading.health in ("ok", "starting"):
        reading = replace(reading, health="stale", reason=silent, cause=f"{box}: silent")
    return replace(known, spec=replace(known.spec, id=on_box(box, known.spec.id)), reading=reading)


def _ram(tiers: Sequence[RamTier], slabs: tuple[Slab, ...]) -> RamTier:
    """All boxes' tiers as one: what they may hold together, though a slab rests in one of them."""
    most = [tier.most_bytes for tier in tiers if tier.most_bytes is not None]
    return RamTier(
        budget_bytes=sum(tier.budget_bytes for tier in tiers),
        max_models=sum(tier.max_models for tier in tiers),
        slabs=slabs,
        displaced=sum(tier.displaced for tier in tiers),
        most_bytes=sum(most) if most else None,
    )
