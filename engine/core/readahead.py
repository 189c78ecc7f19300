"""What to read into the RAM tier before anybody asks: only into room that is free, so that nothing has to go for it."""

from __future__ import annotations

from collections.abc import Collection

from engine.core.forecast.demand import expected_requests
from engine.core.prediction import predict
from engine.core.names import ModelName
from engine.core.planning.ram_tier import excess, tier_slabs
from engine.core.state import ModelState, State


def wanted_next(state: State, unreadable: Collection[ModelName] = ()) -> ModelName | None:
    """The prepared model that rests on disk and whose reading is expected to cost most: requests to come × seconds of reading.

    None where nobody has asked for such a model yet, or none fits into the free room of the tier.
    """
    slabs = tier_slabs(state)
    if not excess(state, slabs, 1).is_met:
        return None  # it is full, as it mostly is
    wanted = [
        name
        for name, known in state.models.items()
        if name not in unreadable
        and _rests_on_disk(state, known)
        and excess(state, slabs, known.footprint.weights_bytes).is_met
    ]
    return max(wanted, key=lambda name: _expected_s(state, name), default=None)


def _rests_on_disk(state: State, known: ModelState) -> bool:
    name = known.spec.name
    anywhere = bool(state.of(name)) or any(s.model == name for s in state.ram.slabs)
    return known.prepared and not known.trouble and known.demand.requests > 0 and not anywhere


def _expected_s(state: State, model: ModelName) -> float:
    size_bytes = state.models[model].footprint.weights_bytes
    return expected_requests(state, model) * predict(state.disk, size_bytes).p50_s
