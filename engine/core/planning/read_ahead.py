"""Which slab is worth reading ahead of any need for it, though others leave the RAM tier for its place.

A reading pays when what it is expected to save, less what leaves for it would have saved, takes longer than itself. For how many
requests it can save anything shows in what the tier has let go so far: where much comes and goes, little is worth reading ahead.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from msgspec import Struct

from engine.core.forecast.costs import reading
from engine.core.forecast.demand import HORIZON_REQUESTS, expected_requests
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.ram_tier import has_room, resting, slabs_to_drop, write_back_time
from engine.core.state import ModelState, Situation, State


class ReadAhead(Struct, frozen=True):
    """A slab that is worth reading now, though nobody waits for it."""

    model: ModelName
    reading_s: float
    """What the reading is predicted to take."""
    saved_s: float
    """What the slab is expected to save while it stays, less what its place costs; infinite where none has had to leave yet."""
    displaced: tuple[ModelName, ...]
    """The slabs that leave for it."""

    @property
    def worth_s(self) -> float:
        """What is gained by reading it now; positive."""
        return self.saved_s - self.reading_s

    @property
    def reason(self) -> str:
        """Why it is read, in words."""
        left = f", {' and '.join(self.displaced)} left for it" if self.displaced else ""
        if math.isinf(self.saved_s):
            return f"it is asked for, and no copy has had to leave yet for want of room{left}"
        return (
            f"{self.reading_s:.1f} s of reading while idle are expected to save {self.saved_s:.1f} s of waiting{left}"
        )


def worth_reading_ahead(situation: Situation, unreadable: Collection[ModelName] = ()) -> ReadAhead | None:
    """The reading that is expected to pay most, of prepared models on disk that somebody has asked for; none of `unreadable`.

    None where none pays.
    """
    state = situation.state
    stay = stay_requests(state)
    # What a place costs takes a search, and mostly the tier is full and little is worth a place. So in the order of what each
    # would be worth if its place cost nothing, and only as long as that is more than the best one found.
    wanted = [n for n, known in state.models.items() if n not in unreadable and _rests_on_disk(state, known)]
    at_most = [
        (stay * saving_s - _reading_s(state, n), saving_s, n) for n in wanted if (saving_s := _saving_s(state, n))
    ]
    best: ReadAhead | None = None
    for worth_s, _, name in sorted(at_most, reverse=True):
        if worth_s <= (best.worth_s if best else 0.0):
            break
        found = _weighed(situation, name, stay)
        if found is not None and found.worth_s > (best.worth_s if best else 0.0):
            best = found
    return best


def stay_requests(state: State) -> float:
    """For how many requests a slab usually rests in the RAM tier; infinite where none has had to leave yet for want of room.

    Little's law: as many as rest there, divided by how many leave with each request.
    """
    displaced = state.ram.displaced
    return len(resting(state)) * state.request_count / displaced if displaced else math.inf


def _weighed(situation: Situation, model: ModelName, stay: float) -> ReadAhead | None:
    """The reading of `model`, and what leaves for it; None where there is no room, or what leaves is worth as much."""
    state = situation.state
    size_bytes = state.models[model].footprint.weights_bytes
    if not has_room(state, size_bytes):
        return None
    displaced = slabs_to_drop(situation, size_bytes)
    copies = {name: device for name in displaced if (device := _gpu_of(state, name))}
    saving_s = _saving_s(state, model) - sum(_saving_s(state, name) for name in displaced if name not in copies)
    if saving_s <= 0:
        return None
    # A copy of a model on a GPU saves no reading. It saves copying the weights back when the model leaves.
    back_s = sum(write_back_time(state, name, device).p50_s for name, device in copies.items())
    return ReadAhead(model, _reading_s(state, model), stay * saving_s - back_s, displaced)


def _saving_s(state: State, model: ModelName) -> float:
    """Seconds of reading that the model's slab in the RAM tier is expected to save with the next request."""
    return expected_requests(state, model) / HORIZON_REQUESTS * _reading_s(state, model)


def _reading_s(state: State, model: ModelName) -> float:
    return reading(state, model, state.models[model].footprint.weights_bytes).p50_s


def _rests_on_disk(state: State, known: ModelState) -> bool:
    name = known.spec.name
    anywhere = bool(state.of(name)) or state.ram.find(name) is not None
    return known.prepared and not known.trouble and known.demand.requests > 0 and not anywhere


def _gpu_of(state: State, model: ModelName) -> DeviceId | None:
    """The GPU that the model stays on, if it is on one."""
    return next((r.device for r in state.of(model) if r.device != CPU and r.stage in ("ready", "loading")), None)
