"""What the RAM tier lets go when it is short, and whether a victim's bytes are worth a place in it.

Copies of models that are on a GPU go before those of models that rest in the tier; within each kind the policy chooses, as it
chooses victims, by what reading the model again from disk would take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from engine.core.prediction import Prediction, predict
from engine.core.planning.eviction import Leaver, in_order
from engine.core.ledger import slab_in_use
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.policy import Policy
from engine.core.state import Slab, State
from engine.core.planning.knapsack_cover import Candidate, Need, cheapest_cover, cost_bounds, leading_cover


def tier_slabs(state: State) -> tuple[Slab, ...]:
    """The slabs that count against the tier: all but those that a CPU resident runs from, which the CPU's budget pays for."""
    on_cpu = {r.model for r in state.on(CPU)}
    return tuple(s for s in state.ram.slabs if s.model not in on_cpu)


def resting(state: State) -> tuple[Slab, ...]:
    """The slabs of models that are not on any device: the only ones that an exclusive tier holds."""
    return tuple(s for s in state.ram.slabs if not _stays_on_a_device(state, s.model))


def slabs_to_drop(state: State, policy: Policy, now_s: float, coming_bytes: int = 0) -> tuple[ModelName, ...]:
    """What to let go, in order, for the tier to hold its limits with `coming_bytes` more; as much as is possible of it.

    A load is never refused for want of a place in the tier: while it runs the tier may be over its limits by that one slab.
    """
    counted = tier_slabs(state)
    need = excess(state, counted, coming_bytes)
    idle = [s for s in counted if _is_idle(state, s)]
    copies = [s for s in idle if _stays_on_a_device(state, s.model)]
    drops = let_go(state, copies, need, policy, now_s)
    left = [s for s in counted if s.model not in drops]
    rest = [s for s in idle if s not in copies]
    return (*drops, *let_go(state, rest, excess(state, left, coming_bytes), policy, now_s))


def has_room(state: State, coming_bytes: int) -> bool:
    """Whether the tier can hold its limits with `coming_bytes` more, letting go of what it may."""
    return excess(state, [s for s in tier_slabs(state) if not _is_idle(state, s)], coming_bytes).is_met


def excess(state: State, slabs: Sequence[Slab], coming_bytes: int = 0) -> Need:
    """What must leave for the tier to hold `slabs` and one more of `coming_bytes`, if that is not 0."""
    size_bytes = sum(s.size_bytes for s in slabs) + coming_bytes
    count = len(slabs) + (1 if coming_bytes else 0)
    return Need(size_bytes - state.ram.budget_bytes, count - state.ram.max_models)


def let_go(state: State, slabs: Sequence[Slab], need: Need, policy: Policy, now_s: float) -> tuple[ModelName, ...]:
    """Those of `slabs` that `policy` gives up to meet `need`, in order; all of them when that is not enough."""
    if need.is_met:
        return ()
    ordered = in_order(state, [_leaver(state, s.model, s.size_bytes) for s in slabs], policy, now_s)
    cover = _cover(ordered, need, policy)
    return tuple(c.name for c in (ordered if cover is None else cover))


def worth_copying_back(state: State, model: ModelName, device: DeviceId, policy: Policy, now_s: float) -> bool:
    """Whether the bytes of `model`, which is to leave `device`, are worth copying back to the RAM tier.

    They are not when the policy would sooner let them go than what rests there, and under `expected_loss` not either when the
    reading that they are expected to save, less what they displace, takes no longer than the copy.
    """
    size_bytes = state.models[model].footprint.weights_bytes
    others = [s for s in resting(state) if s.model != model]
    leavers = [_leaver(state, s.model, s.size_bytes) for s in others if _is_idle(state, s)]
    ordered = in_order(state, [*leavers, _leaver(state, model, size_bytes)], policy, now_s)
    need = excess(state, others, size_bytes)
    if policy.eviction != "expected_loss":
        displaced = leading_cover(ordered, need)
        return displaced is not None and all(c.name != model for c in displaced)
    [returning] = [c for c in ordered if c.name == model]
    # what the tier is short of already leaves it in any case
    anyway = excess(state, others)
    return _saves_more_than(copy_back_time(state, model, device).p50_s, returning, ordered, need, anyway)


def _saves_more_than(
    copy_s: float, returning: Candidate, ordered: Sequence[Candidate], need: Need, anyway: Need
) -> bool:
    """Whether keeping `returning`, less what must leave for `need` instead of for `anyway`, saves more than `copy_s`. The exact
    sets are searched for only where their bounds leave that open."""
    others = [c for c in ordered if c is not returning]
    least_s, most_s = cost_bounds(others, need)
    if math.isinf(least_s):
        return False
    least_anyway_s, most_anyway_s = cost_bounds(others, anyway)
    if returning.cost - least_s + most_anyway_s <= copy_s:
        return False
    if most_s < returning.cost and returning.cost - most_s + least_anyway_s > copy_s:
        return True
    displaced = cheapest_cover(ordered, need) or ()
    if returning in displaced:
        return False
    saved_s = returning.cost - _cost_s(displaced) + _cost_s(cheapest_cover(others, anyway) or ())
    return saved_s > copy_s


def _cost_s(cover: Iterable[Candidate]) -> float:
    return sum(c.cost for c in cover)


def copy_back_time(state: State, model: ModelName, device: DeviceId) -> Prediction:
    """What copying the weights of `model` from `device` to the RAM tier will take."""
    known = state.devices[device]
    return predict(known.back or known.rates, state.models[model].footprint.weights_bytes)


def _cover(ordered: Sequence[Candidate], need: Need, policy: Policy) -> tuple[Candidate, ...] | None:
    return cheapest_cover(ordered, need) if policy.eviction == "expected_loss" else leading_cover(ordered, need)


def _leaver(state: State, model: ModelName, size_bytes: int) -> Leaver:
    return Leaver(model, size_bytes, predict(state.disk, size_bytes).p50_s)


def _is_idle(state: State, slab: Slab) -> bool:
    return slab.stage == "kept" and not slab_in_use(state, slab.model)


def _stays_on_a_device(state: State, model: ModelName) -> bool:
    return any(r.stage in ("ready", "loading") for r in state.of(model))
