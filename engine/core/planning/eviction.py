"""Who leaves under a policy: what each ranks by, on devices and in the RAM tier alike, and a device's victims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from engine.core.forecast.costs import reload_s
from engine.core.forecast.demand import expected_requests
from engine.core.names import DeviceId, ModelName
from engine.core.planning.gdsf import priority
from engine.core.planning.knapsack_cover import Candidate, Need, cheapest_cover, first_cover
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.state import Resident, State


class Leaver(Struct, frozen=True):
    """A model that may leave some place."""

    model: ModelName
    size_bytes: int
    """What its leaving frees."""
    reload_s: float
    """What bringing it back is predicted to take."""


class VictimSet(Struct, frozen=True):
    """The models that leave, in the order in which they would."""

    models: tuple[ModelName, ...]
    freed_bytes: int
    cost: tuple[float, ...]
    """Compares choices of one policy, lowest first: expected seconds of reloading, or the ranks of all, highest first."""


def victims(state: State, leavers: Sequence[Leaver], need: Need, policy: Policy, now_s: float) -> VictimSet | None:
    """Those of `leavers` that `policy` gives up to meet `need`; None when all together do not meet it.

    Under an order of leaving, those are spared that the ones before make superfluous: each is a reload that somebody waits for.
    """
    if need.is_met:
        return VictimSet((), 0, ())
    ordered = in_order(state, leavers, policy, now_s)
    cover = cheapest_cover(ordered, need) if policy.eviction == "expected_loss" else first_cover(ordered, need)
    if cover is None:
        return None
    costs = [c.cost for c in cover]
    cost = (sum(costs),) if policy.eviction == "expected_loss" else tuple(sorted(costs, reverse=True))
    return VictimSet(tuple(c.name for c in cover), sum(c.size_bytes for c in cover), cost)


def in_order(state: State, leavers: Sequence[Leaver], policy: Policy, now_s: float) -> list[Candidate]:
    """`leavers` in the order in which they would leave one by one; of two that rank alike, the one that is back sooner first."""
    found = [(Candidate(x.model, x.size_bytes, rank(state, x, policy, now_s)), x.reload_s) for x in leavers]
    if policy.eviction == "expected_loss":
        found.sort(key=lambda pair: (pair[0].cost / max(pair[0].size_bytes, 1), pair[0].name))
    else:
        found.sort(key=lambda pair: (pair[0].cost, pair[1], pair[0].name))
    return [candidate for candidate, _ in found]


def rank(state: State, leaver: Leaver, policy: Policy, now_s: float) -> float:
    """What the policy holds against the leaving of `leaver`: expected seconds of reloading, or its place in an order."""
    demand = state.models[leaver.model].demand
    last_s = demand.last_s or 0.0
    match policy.eviction:
        case "expected_loss":
            return expected_requests(state, leaver.model) * leaver.reload_s
        case "lru":
            return last_s
        case "lfu":
            return float(demand.requests)
        case "gdsf":
            return priority(demand, leaver.size_bytes, leaver.reload_s)
        case "ttl":
            return last_s if now_s - last_s < policy.ttl_s else 0.0
        case _:
            assert_never(policy.eviction)


def worth_promoting(state: State, found: Plan, policy: Policy, now_s: float) -> bool:
    """Whether `policy` holds more against the leaving of the model that `found` loads, were it there, than against its victims'.

    Expected losses add up; in an order of leaving, the victim that would leave last counts.
    """
    if found.load is None:
        return False
    coming = _rank(state, found.load.model, found.load.device, policy, now_s)
    leaving = [_rank(state, v.model, v.device, policy, now_s) for v in found.victims]
    together = sum(leaving) if policy.eviction == "expected_loss" else max(leaving, default=0.0)
    return together <= coming


def _rank(state: State, model: ModelName, device: DeviceId, policy: Policy, now_s: float) -> float:
    footprint = state.models[model].footprint
    resident = Resident(model, device, "ready", footprint, now_s)
    return rank(state, Leaver(model, footprint.total_bytes, reload_s(state, resident)), policy, now_s)
