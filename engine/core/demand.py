"""Demand: how much each model is asked for, counted so that old requests weigh less.

The weight that evictions use decays by the number of requests that came since, to any model, so that a quiet night forgets
nothing. The rate shown to people decays by time.
"""

from __future__ import annotations

from math import exp
from typing import Final

from msgspec.structs import replace

from engine.core.names import ModelName
from engine.core.state import Demand, State

DECAY_REQUESTS: Final = 200
"""Requests after which one weighs 1/e. On public demand traces results are flat from 100 to 1,000."""

_RATE_WINDOW_S: Final = 60.0


def decayed_weight(demand: Demand, request_count: int) -> float:
    """The weight of `demand` after `request_count` requests in all."""
    return demand.weight * exp((demand.at_request - request_count) / DECAY_REQUESTS)


def requests_per_minute(demand: Demand, now_s: float) -> float:
    """The recent rate: an exponential average over about a minute."""
    if demand.last_s is None:
        return 0.0
    return demand.per_minute * exp(min(demand.last_s - now_s, 0.0) / _RATE_WINDOW_S)


def request_came(state: State, model: ModelName, now_s: float) -> State:
    """`state` with one more request for `model`."""
    count = state.request_count + 1
    known = state.models[model]
    demand = Demand(
        weight=decayed_weight(known.demand, count) + 1.0,
        at_request=count,
        requests=known.demand.requests + 1,
        last_s=now_s,
        per_minute=requests_per_minute(known.demand, now_s) + 60.0 / _RATE_WINDOW_S,
    )
    return replace(state, request_count=count, models={**state.models, model: replace(known, demand=demand)})
