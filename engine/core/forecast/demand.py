"""Demand: how much each model is asked for, learned from the requests so far.

Requests are counted over several spans at once, from the last dozen to the last thousands, and each span is trusted as far as
it has lately predicted the requests that came. Spans are counted in requests to any model, not in time, so that a quiet night
forgets nothing; a run of requests for one model counts once, since only its first can cost a switch. The rate shown to people
decays by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp
from typing import Final

from msgspec.structs import replace

from engine.core.names import ModelName
from engine.core.state import Demand, State

SPANS_REQUESTS: Final = (16, 48, 144, 432, 1296, 3888)
"""After so many requests a request weighs 1/e: from a burst to a day, each three times as long as the one before."""
HORIZON_REQUESTS: Final = 100
"""The near future that losses are counted over. It scales all of them alike, so it decides nothing between models."""
PRIOR_REQUESTS: Final = 0.25
"""What each model weighs in each span before anybody asks for it: somebody put it there, so losing it is not free."""
_FORGETTING: Final = 0.99
"""A prediction counts so much less with each request after it: what a span was worth 100 requests ago counts 1/e."""

_FADES: Final = tuple(exp(-1 / span) for span in SPANS_REQUESTS)
_NOTHING: Final = (0.0,) * len(SPANS_REQUESTS)
_EQUAL: Final = (1 / len(SPANS_REQUESTS),) * len(SPANS_REQUESTS)
_RATE_WINDOW_S: Final = 60.0


def expected_requests(state: State, model: ModelName) -> float:
    """How many of the next `HORIZON_REQUESTS` requests are expected to be for `model`, runs counted once."""
    return expected(state, [weight + PRIOR_REQUESTS for weight in _weights(state, model)])


def expected(state: State, remembered: Sequence[float]) -> float:
    """What is expected of something within the next `HORIZON_REQUESTS` requests, of which each span remembers so much."""
    shares = _shares(state.trust or _EQUAL, state.request_count, len(state.models))
    return HORIZON_REQUESTS * sum([s * amount for s, amount in zip(shares, remembered, strict=True)])


def requests_in_a_run(demand: Demand) -> float:
    """How many come one after the other once the model is asked for, as the mean since the start: `expected_requests` counts
    them once."""
    return demand.requests / max(1, demand.counted)


def requests_per_minute(demand: Demand, now_s: float) -> float:
    """The recent rate: an exponential average over about a minute."""
    if demand.last_s is None:
        return 0.0
    return demand.per_minute * exp(min(demand.last_s - now_s, 0.0) / _RATE_WINDOW_S)


def request_came(state: State, model: ModelName, now_s: float) -> State:
    """`state` with one more request for `model`."""
    known = state.models[model]
    demand = replace(
        known.demand,
        requests=known.demand.requests + 1,
        last_s=now_s,
        per_minute=requests_per_minute(known.demand, now_s) + 60.0 / _RATE_WINDOW_S,
    )
    count, trust = state.request_count, state.trust
    # A model whose weights are as new as the last counted request was that request: this one goes on its run. (The first
    # request of all finds 0 on both sides, hence `requests`.)
    if known.demand.requests == 0 or known.demand.at_request != count:
        # before the weights know of it: a span earns trust by having foreseen the request, not by remembering it
        trust = _trust(state, model)
        count += 1
        weights = tuple([w + 1.0 for w in faded(known.demand.weights, known.demand.at_request, count)])
        demand = replace(demand, weights=weights, at_request=count, counted=demand.counted + 1)
    models = {**state.models, model: replace(known, demand=demand)}
    return replace(state, models=models, request_count=count, trust=trust)


# Weights fade with every request to any model, yet a request changes the demand of one model only: the others' weights stay as
# they were written, with the number of the request at which they were right, and are brought up to date when they are read.
# What a thousand models have been asked for thus costs a request no more than what two have.


def faded(weights: tuple[float, ...], at_request: int, now: int) -> tuple[float, ...]:
    """What was right at one request as it counts at a later one, span by span; empty is nothing."""
    age = now - at_request
    return tuple([w * fade**age for w, fade in zip(weights or _NOTHING, _FADES, strict=True)])


def _weights(state: State, model: ModelName) -> tuple[float, ...]:
    demand = state.models[model].demand
    return faded(demand.weights, demand.at_request, state.request_count)


@lru_cache(maxsize=16)
def _shares(trust: tuple[float, ...], requests: int, models: int) -> tuple[float, ...]:
    """Each span's part in the chance of a model to be the next one, for each request that it remembers of the model."""
    # All weights of a span add up to a geometric series, since each counted request adds 1 to somebody's and fades all of them:
    # no need to add up what the models weigh.
    seen = [(1 - fade**requests) / (1 - fade) for fade in _FADES]
    return tuple(t / (s + PRIOR_REQUESTS * models) for t, s in zip(trust, seen, strict=True))


def _trust(state: State, model: ModelName) -> tuple[float, ...]:
    """The trust in each span, now that `model` was asked for: a mixture of experts with forgetting.

    Raftery, Kárný and Ettler, "Online prediction under model uncertainty via dynamic model averaging", *Technometrics*
    52(1), 2010: Bayes' rule, with the former odds drawn towards equality by a power a little below 1.
    """
    # Each span's own chance of the model, which is why `_shares` is asked with equal trust: the factor that this puts before all
    # of them alike goes with the total.
    before = state.trust or _EQUAL
    weights = _weights(state, model)
    chances = _shares(_EQUAL, state.request_count, len(state.models))
    after = [t**_FORGETTING * c * (w + PRIOR_REQUESTS) for t, c, w in zip(before, chances, weights, strict=True)]
    total = sum(after)
    return tuple([t / total for t in after])
