"""Whether a model that answers on the CPU should return to a GPU: nobody waits for it, so it has to be worth its victims."""

from __future__ import annotations

from engine.core.forecast.costs import reload_s
from engine.core.planning.eviction import Leaver, rank
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.state import Resident, State


def worth_returning(state: State, found: Plan, policy: Policy, now_s: float) -> bool:
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
