"""What must be true of every state, whatever happened."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from engine.core.ledger import charged
from engine.core.names import CPU
from engine.core.state import State

T = TypeVar("T")


def broken_invariants(state: State) -> list[str]:
    """What is wrong with `state`, in words; empty when all is well. Cheap enough to ask after every event."""
    wrong = []
    for device, known in state.devices.items():
        if charged(state, device) > int(known.spec.total_bytes * known.spec.fraction):
            wrong.append(f"{device} is charged more than the engine may fill")
    for resident in state.residents:
        if resident.leases < 0 or min(resident.footprint.weights_bytes, resident.footprint.workspace_bytes) < 0:
            wrong.append(f"{resident.model} on {resident.device} has a negative figure")
        if resident.leases and resident.stage not in ("ready", "draining"):
            wrong.append(f"{resident.model} on {resident.device} is leased while {resident.stage}")
    loads = [r.model for r in state.residents if r.stage in ("pending", "loading")]
    wrong += [f"{model} is loaded twice at once" for model in _repeated(loads)]
    places = [(r.model, r.device) for r in state.residents]
    wrong += [f"{model} stands twice on {device}" for model, device in _repeated(places)]
    kept = {slab.model for slab in state.ram.slabs}
    wrong += [
        f"{r.model} runs from a slab that is gone"
        for r in state.on(CPU)
        if r.stage in ("ready", "draining") and r.model not in kept
    ]
    return wrong


def _repeated(items: Sequence[T]) -> Collection[T]:
    once = set(items)
    return () if len(once) == len(items) else [item for item in once if items.count(item) > 1]
