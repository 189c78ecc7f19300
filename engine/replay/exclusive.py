"""The RAM tier of a replay: exclusive. A model rests in RAM or is on a GPU; a victim's bytes go back to RAM if they are worth it.

A resident keeps its slab on the books, so that the planner prices its reload from where it would land; only slabs at rest
count against the tier's budget.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.core.demand import decayed_weight
from engine.core.latency import predict
from engine.core.names import ModelName
from engine.core.policy import Policy
from engine.core.state import Slab, State
from engine.core.victims import Candidate, cheapest_cover


def resting(state: State) -> tuple[Slab, ...]:
    """The slabs that take up RAM: those of models that are not on a GPU."""
    resident = {r.model for r in state.residents}
    return tuple(s for s in state.ram.slabs if s.model not in resident)


def slabs_to_forget(state: State, policy: Policy) -> tuple[ModelName, ...]:
    """The slabs at rest that `policy` lets go for the tier to hold its budget, the same way as it chooses victims."""
    slabs = resting(state)
    over_bytes = sum(s.size_bytes for s in slabs) - state.ram.budget_bytes
    if over_bytes <= 0:
        return ()
    match policy.eviction:
        case "expected_loss":
            return _cheapest(state, slabs, over_bytes)
        case "lru":
            return _first(slabs, over_bytes, lambda s: state.models[s.model].demand.last_s or 0.0)
        case "lfu":
            return _first(slabs, over_bytes, lambda s: float(state.models[s.model].demand.requests))


def _cheapest(state: State, slabs: tuple[Slab, ...], over_bytes: int) -> tuple[ModelName, ...]:
    """The set that is expected to cost the fewest seconds of reading again."""
    candidates = [
        Candidate(s.model, s.size_bytes, decayed_weight(state, s.model) * predict(state.disk, s.size_bytes).p50_s)
        for s in slabs
    ]
    return tuple(c.name for c in cheapest_cover(candidates, over_bytes) or ())


def _first(slabs: tuple[Slab, ...], over_bytes: int, order: Callable[[Slab], float]) -> tuple[ModelName, ...]:
    gone: list[ModelName] = []
    for slab in sorted(slabs, key=lambda s: (order(s), s.model)):
        if over_bytes <= 0:
            break
        gone.append(slab.model)
        over_bytes -= slab.size_bytes
    return tuple(gone)
