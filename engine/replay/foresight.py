"""Where a policy's knowledge of demand comes from: the requests so far, or, for the bound, the requests to come."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from engine.core.forecast.demand import SPANS_REQUESTS
from engine.core.names import ModelName
from engine.core.state import State

_SCALE: Final = 1e6
"""Makes the engine's prior demand, a fraction of one request, vanish beside what is known for certain."""


class Outlook(Protocol):
    """What a policy may know when it decides."""

    def informed(self, state: State, number: int) -> State:
        """`state` with the demand that the policy goes by at request `number`."""


class Hindsight:
    """The demand that the engine itself has counted."""

    def informed(self, state: State, number: int) -> State:
        return state


class Clairvoyance:
    """The true future: a model weighs the reciprocal of the number of requests until its next one, and 0 if there is none.

    With the planner's exact victim sets this is Belady's rule weighed by reload cost. Sizes make the true optimum
    NP-hard; this is a reference that no policy without the future is expected to reach, not a proven minimum.
    """

    def __init__(self, models: Sequence[ModelName]) -> None:
        self._asked_at: dict[ModelName, list[int]] = {}
        for number, model in enumerate(models):
            self._asked_at.setdefault(model, []).append(number)

    def informed(self, state: State, number: int) -> State:
        models = {
            name: replace(
                known,
                demand=replace(known.demand, weights=self._weights(name, number), at_request=state.request_count),
            )
            for name, known in state.models.items()
        }
        return replace(state, models=models)

    def _weights(self, model: ModelName, number: int) -> tuple[float, ...]:
        asked_at = self._asked_at.get(model, [])
        later = bisect_right(asked_at, number)
        nearness = _SCALE / (asked_at[later] - number) if later < len(asked_at) else 0.0
        return (nearness,) * len(SPANS_REQUESTS)
