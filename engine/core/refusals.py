"""Refusals that a person can act on: needed, free, who is in the way, and what would let it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.commands import Single
from engine.core.int8 import int8_would_fit
from engine.core.models import Footprint
from engine.core.names import CPU
from engine.core.planning.placement import NoOffer
from engine.core.plans import Blocker, Refusal, Room
from engine.core.sizes import format_size
from engine.core.state import ModelState


def over_any_budget(command: Single, model: ModelState, rooms: Sequence[Room]) -> Refusal | None:
    """The refusal of a model that is larger than every budget asked about; None when one is large enough."""
    need = model.footprint.total_bytes
    if any(room.budget_bytes >= need for room in rooms):
        return None
    largest = max(rooms, key=lambda room: room.budget_bytes)
    int8 = int8_would_fit(model.in_int8, largest.budget_bytes)
    smaller = f"lower its limits or choose a smaller dtype in model_gpu_mapping.json{int8 and f': {int8}'}"
    return Refusal(
        command,
        f"{model.spec.name} needs {_footprint(model.footprint)}; the largest budget is {format_size(largest.budget_bytes)}"
        f" on {largest.device}",
        needed_bytes=need,
        rooms=tuple(rooms),
        advice=(smaller, "raise GPU_MEMORY_FRACTION"),
    )


def no_room(command: Single, model: ModelState, none: Sequence[NoOffer]) -> Refusal:
    """The refusal of a model that would fit if something were not in the way."""
    rooms = tuple(o.room for o in none)
    blockers = tuple(b for o in none for b in o.blockers)
    shown = ", ".join(f"{r.device} {r.note or format_size(r.free_bytes) + ' free'}" for r in rooms)
    if busy := " and ".join(b.model for b in blockers if b.why == "leased"):
        shown += f"; {busy} in use"
    return Refusal(
        command,
        f"{model.spec.name} needs {_footprint(model.footprint)}; {shown}",
        needed_bytes=model.footprint.total_bytes,
        rooms=rooms,
        blockers=blockers,
        advice=_advice(command, blockers, rooms),
    )


def _advice(command: Single, blockers: Sequence[Blocker], rooms: Sequence[Room]) -> tuple[str, ...]:
    advice = [f"unpin {b.model}" for b in blockers if b.why == "pinned"]
    advice += [f"wait: {b.model} on {b.device} is {b.why}" for b in blockers if b.why != "pinned"]
    if all(room.device != CPU for room in rooms):
        advice.append(f"run {command.model} on the CPU")
    return tuple(advice)


def _footprint(footprint: Footprint) -> str:
    parts = f"{format_size(footprint.weights_bytes)} weights + {format_size(footprint.workspace_bytes)} workspace"
    return f"{format_size(footprint.total_bytes)} ({parts}, {footprint.label})"
