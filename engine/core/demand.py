"""Demand: how much each model is asked for, counted so that old requests weigh less.

The weight that evictions use decays by the number of requests that came since, to any model, so that a quiet night forgets
nothing; a run of requests for one model counts once, since only its first can cost a switch. The rate shown to people
decays by time.
"""

from __future__ import annotations

from math import exp
from typing import Final

from msgspec.structs import replace

from engine.core.names import ModelName
from engine.core.state import Demand, State

DECAY_REQUESTS_PER_MODEL: Final = 2
"""A request weighs 1/e after this many others for each model of the catalog: the more models share the requests, the longer
it takes to tell the wanted from the unwanted. On public demand traces results differ by 1.5 % from 1 to 4."""
SHORTEST_DECAY_REQUESTS: Final = 50
"""With a handful of models, so that one burst does not wipe out what is known of the others."""

_RATE_WINDOW_S: Final = 60.0


def decayed_weight(state: State, model: ModelName) -> float:
    """How much `model` is asked for, as of the newest request to any model."""
    demand = state.models[model].demand
    decay_requests = max(SHORTEST_DECAY_REQUESTS, DECAY_REQUESTS_PER_MODEL * len(state.models))
    return demand.weight * exp((demand.at_request - state.request_count) / decay_requests)


def requests_per_minute(demand: Demand, now_s: float) -> float:
    """The recent rate: an exponential average over about a minute."""
    if demand.last_s is None:
        return 0.0
    return demand.per_minute * exp(min(demand.last_s - now_s, 0.0) / _RATE_WINDOW_S)


def request_came(state: State, model: ModelName, now_s: float) -> State:
    """`state` with one more request for `model`."""
    known = state.models[model]
    repeated = known.demand.requests > 0 and known.demand.at_request == state.request_count
    if not repeated:
        state = replace(state, request_count=state.request_count + 1)
    demand = Demand(
        weight=known.demand.weight if repeated else decayed_weight(state, model) + 1.0,
        at_request=state.request_count,
        requests=known.demand.requests + 1,
        last_s=now_s,
        per_minute=requests_per_minute(known.demand, now_s) + 60.0 / _RATE_WINDOW_S,
    )
    return replace(state, models={**state.models, model: replace(known, demand=demand)})
