"""Whose bytes are whose on a device: the parts of a memory bar, in bytes, before anybody thinks of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, assert_never

from msgspec import Struct

from engine.api import Snapshot
from engine.core.names import DeviceId, ModelName
from engine.core.sizes import mib
from engine.core.state import Resident, State

SegmentKind: TypeAlias = Literal["held", "ghost", "leaving", "leaked", "room", "spare", "context", "external"]
"""`held`: a resident. `ghost`: a load under way. `room`: free inside the budget. `spare`: free outside it.
`context`: in use by us beside the residents. `external`: in use by others."""


class Segment(Struct, frozen=True):
    """A part of a device's memory."""

    kind: SegmentKind
    size_bytes: int
    model: ModelName = ""
    weights_bytes: int = 0
    """Of a resident's bytes, those that are weights; the rest is workspace."""


class Occupancy(Struct, frozen=True):
    """A device's whole memory, part by part."""

    inside: tuple[Segment, ...]
    """What counts against the budget, and the room left in it."""
    outside: tuple[Segment, ...]
    """What lies beyond the budget mark."""
    charged_bytes: int
    """Of the budget, what is taken or promised."""
    budget_bytes: int
    total_bytes: int
    leaked_bytes: int = 0
    """Of what is charged, what did not come back when a model left."""
    context_bytes: int = 0
    external_bytes: int = 0
    unused_bytes: int = 0
    """Of what is charged, what the device does not show in use: workspace without a request, or a load's bytes to come."""

    @property
    def used_bytes(self) -> int:
        """What the device reports."""
        return self.charged_bytes + self.context_bytes + self.external_bytes - self.unused_bytes


class Sum(NamedTuple):
    """An occupancy in whole MiB, each as it is shown elsewhere: charged + context + external - unused is used."""

    charged: int
    context: int
    external: int
    unused: int
    used: int


def sum_of(parts: Occupancy) -> Sum:
    """What is unused, which is shown nowhere else, takes what rounding the others up leaves."""
    charged, context, external = mib(parts.charged_bytes), mib(parts.context_bytes), mib(parts.external_bytes)
    used = mib(parts.used_bytes)
    return Sum(charged, context, external, charged + context + external - used, used)


def occupancy(snapshot: Snapshot, device: DeviceId) -> Occupancy:
    """The parts of `device`. Together they are its total; what is in use among them is what it reports."""
    state = snapshot.state.devices[device]
    residents = snapshot.state.on(device)
    charged = [_of_resident(r) for r in residents if r.stage != "pending"]
    if state.leaked_bytes:
        charged.append(Segment("leaked", state.leaked_bytes))
    taken = sum(s.size_bytes for s in charged)
    external = state.reading.external_bytes or 0
    used = state.reading.used_bytes
    ours = taken + state.context_bytes if used is None else used - external
    # What we use and charge nobody is our worker's, whether it told of it or not.
    context = max(state.context_bytes, ours - taken)
    total, budget = state.spec.total_bytes, snapshot.budgets.get(device, 0)
    left = max(total - taken - context - external, 0)
    room = min(max(budget - taken, 0), left)
    waiting = _waiting([r for r in residents if r.stage == "pending"], room)
    return Occupancy(
        inside=(*charged, *waiting, *_unless_empty("room", room - sum(s.size_bytes for s in waiting))),
        outside=(
            *_unless_empty("spare", left - room),
            *_unless_empty("context", context),
            *_unless_empty("external", external),
        ),
        charged_bytes=taken,
        budget_bytes=budget,
        total_bytes=total,
        leaked_bytes=state.leaked_bytes,
        context_bytes=context,
        external_bytes=external,
        unused_bytes=taken + context - ours,
    )


def together(devices: Sequence[Occupancy]) -> Occupancy:
    """Several devices of one kind as if they were one: their models side by side, and one part for each other kind."""
    models = (s for parts in devices for s in parts.inside if s.model)
    sizes = Counter[SegmentKind]()
    for parts in devices:
        for segment in (*parts.inside, *parts.outside):
            sizes[segment.kind] += 0 if segment.model else segment.size_bytes

    def of(*kinds: SegmentKind) -> tuple[Segment, ...]:
        return tuple(part for kind in kinds for part in _unless_empty(kind, sizes[kind]))

    return Occupancy(
        inside=(*models, *of("leaked", "room")),
        outside=of("spare", "context", "external"),
        charged_bytes=sum(parts.charged_bytes for parts in devices),
        budget_bytes=sum(parts.budget_bytes for parts in devices),
        total_bytes=sum(parts.total_bytes for parts in devices),
        leaked_bytes=sum(parts.leaked_bytes for parts in devices),
        context_bytes=sum(parts.context_bytes for parts in devices),
        external_bytes=sum(parts.external_bytes for parts in devices),
        unused_bytes=sum(parts.unused_bytes for parts in devices),
    )


def tier_occupancy(state: State) -> Occupancy:
    """The parts of the RAM tier, which is all budget."""
    slabs = tuple(
        Segment("held" if s.stage == "kept" else "ghost", s.size_bytes, s.model, s.size_bytes) for s in state.tier_slabs
    )
    taken = sum(s.size_bytes for s in slabs)
    room = _unless_empty("room", max(state.ram.budget_bytes - taken, 0))
    return Occupancy((*slabs, *room), (), taken, state.ram.budget_bytes, state.ram.budget_bytes)


def _of_resident(resident: Resident) -> Segment:
    footprint = resident.footprint
    return Segment(_kind(resident), footprint.total_bytes, resident.model, footprint.weights_bytes)


def _waiting(pending: list[Resident], room_bytes: int) -> list[Segment]:
    """Loads that nothing is charged for yet, as far as there is room for them already."""
    found: list[Segment] = []
    for resident in pending:
        size_bytes = min(resident.footprint.total_bytes, room_bytes)
        found.extend(_unless_empty("ghost", size_bytes, resident.model))
        room_bytes -= size_bytes
    return found


def _kind(resident: Resident) -> SegmentKind:
    match resident.stage:
        case "pending" | "loading":
            return "ghost"
        case "ready":
            return "held"
        case "draining" | "leaving":
            return "leaving"
        case _:
            assert_never(resident.stage)


def _unless_empty(kind: SegmentKind, size_bytes: int, model: ModelName = "") -> tuple[Segment, ...]:
    return (Segment(kind, size_bytes, model),) if size_bytes else ()
