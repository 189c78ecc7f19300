"""Which slabs the RAM tier lets go when it is short: first copies of models that are on a GPU, then the least wanted."""

from __future__ import annotations

from engine.core.demand import decayed_weight
from engine.core.ledger import slab_in_use
from engine.core.names import CPU, ModelName
from engine.core.state import Slab, State


def tier_slabs(state: State) -> tuple[Slab, ...]:
    """The slabs that count against the tier: all but those that a CPU resident runs from, which the CPU's budget pays for."""
    on_cpu = {r.model for r in state.on(CPU)}
    return tuple(s for s in state.ram.slabs if s.model not in on_cpu)


def slabs_to_drop(state: State, coming_bytes: int = 0) -> tuple[ModelName, ...]:
    """What to let go, in order, for the tier to hold its limits with `coming_bytes` more; as much as is possible of it.

    A load is never refused for want of a place in the tier: while it runs the tier may be over its limits by that one slab.
    """
    counted = list(tier_slabs(state))
    idle = (s for s in counted if s.stage == "kept" and not slab_in_use(state, s.model))
    droppable = sorted(idle, key=lambda s: _worth(state, s))
    drops: list[ModelName] = []
    for slab in droppable:
        count = len(counted) + (1 if coming_bytes else 0)
        if (
            count <= state.ram.max_models
            and sum(s.size_bytes for s in counted) + coming_bytes <= state.ram.budget_bytes
        ):
            break
        counted.remove(slab)
        drops.append(slab.model)
    return tuple(drops)


def _worth(state: State, slab: Slab) -> tuple[bool, float, float]:
    resting = not any(r.stage in ("ready", "loading") for r in state.of(slab.model))
    demand = decayed_weight(state, slab.model)
    return (resting, demand * slab.size_bytes, slab.used_s)
