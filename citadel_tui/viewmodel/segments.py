"""Whose bytes are whose on a device: the parts of a memory bar, in bytes, before anybody thinks of cells."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct

from engine.api import Snapshot
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.state import DeviceState, Resident, Slab, State

Kind: TypeAlias = Literal["held", "ghost", "leaving", "leaked", "room", "spare", "context", "external"]
"""`held`: a resident. `ghost`: a load under way. `room`: free inside the budget. `spare`: free outside it.
`context`: in use by us beside the residents. `external`: in use by others."""


class Segment(Struct, frozen=True):
    """A part of a device's memory."""

    kind: Kind
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


def occupancy(snapshot: Snapshot, device: DeviceId) -> Occupancy:
    """The parts of `device`. Together they are its total; what is in use among them is what it reports."""
    state = snapshot.state.devices[device]
    charged = [_of_resident(r) for r in snapshot.state.on(device)]
    if state.leaked_bytes:
        charged.append(Segment("leaked", state.leaked_bytes))
    taken = sum(s.size_bytes for s in charged)
    context = _context_bytes(state, charged)
    external = state.reading.external_bytes or 0
    total, budget = state.spec.total_bytes, snapshot.budgets.get(device, 0)
    left = max(total - taken - context - external, 0)
    room = min(max(budget - taken, 0), left)
    return Occupancy(
        inside=(*charged, *_unless_empty("room", room)),
        outside=(
            *_unless_empty("spare", left - room),
            *_unless_empty("context", context),
            *_unless_empty("external", external),
        ),
        charged_bytes=taken,
        budget_bytes=budget,
        total_bytes=total,
    )


def tier_occupancy(state: State) -> Occupancy:
    """The parts of the RAM tier, which is all budget."""
    slabs = tuple(
        Segment("ghost" if s.stage == "reading" else "held", s.size_bytes, s.model, s.size_bytes)
        for s in tier_slabs(state)
    )
    taken = sum(s.size_bytes for s in slabs)
    room = _unless_empty("room", max(state.ram.budget_bytes - taken, 0))
    return Occupancy((*slabs, *room), (), taken, state.ram.budget_bytes, state.ram.budget_bytes)


def tier_slabs(state: State) -> tuple[Slab, ...]:
    """The slabs that are charged to the tier: not those that a resident of the CPU runs from."""
    return tuple(s for s in state.ram.slabs if state.find(s.model, CPU) is None)


def _of_resident(resident: Resident) -> Segment:
    footprint = resident.footprint
    return Segment(_kind(resident), footprint.total_bytes, resident.model, footprint.weights_bytes)


def _kind(resident: Resident) -> Kind:
    match resident.stage:
        case "pending" | "loading":
            return "ghost"
        case "ready":
            return "held"
        case "draining" | "leaving":
            return "leaving"
        case _:
            assert_never(resident.stage)


def _context_bytes(state: DeviceState, charged: list[Segment]) -> int:
    """In use by us, but charged to nobody. Part of a load under way may be in use already, so it is not counted here."""
    if state.reading.used_bytes is None:
        return 0
    ours = state.reading.used_bytes - (state.reading.external_bytes or 0)
    return max(ours - sum(s.size_bytes for s in charged), 0)


def _unless_empty(kind: Kind, size_bytes: int) -> tuple[Segment, ...]:
    return (Segment(kind, size_bytes),) if size_bytes else ()
