"""What the RAM tier lets go when it is short, and whether a victim's bytes are worth a place in it.

Copies of models that are on a GPU go before those of models that rest in the tier; within each kind the policy chooses, as it
chooses victims, by what reading the model again from disk would take.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from msgspec.structs import replace

from engine.core import ledger
from engine.core.forecast.demand import expected_requests
from engine.core.ledger import slab_in_use
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.eviction import Leaver, in_order
from engine.core.planning.knapsack_cover import Candidate, Need, cheapest_cover, cost_bounds, leading_cover
from engine.core.plans import EvictStep, LoadStep
from engine.core.policy import Policy
from engine.core.prediction import Prediction, learn, predict
from engine.core.state import ModelState, Resident, Slab, State


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


def worth_writing_back(state: State, model: ModelName, device: DeviceId, policy: Policy, now_s: float) -> bool:
    """Whether the bytes of `model`, which is to leave `device`, are worth writing back to the RAM tier.

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
    return _saves_more_than(write_back_time(state, model, device).p50_s, returning, ordered, need, anyway)


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


def write_back_time(state: State, model: ModelName, device: DeviceId) -> Prediction:
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


def goes_back(state: State, leaving: Resident, policy: Policy, now_s: float) -> bool:
    """Whether the weights of `leaving` are to be written back before they go: they are nowhere else in memory, the tier has
    room or makes it by letting go of what is worth less, and the copy pays."""
    if not _could_go_back(state, leaving):
        return False
    size_bytes = state.models[leaving.model].footprint.weights_bytes
    return has_room(state, size_bytes) and worth_writing_back(state, leaving.model, leaving.device, policy, now_s)


def with_write_backs(
    state: State, steps: Sequence[EvictStep], coming: LoadStep | None, policy: Policy, now_s: float
) -> tuple[EvictStep, ...]:
    """`steps`, which make room for `coming`, with those marked whose weights go back, and the time of the copies added."""
    leaving = [r for s in steps if (r := state.find(s.model, s.device)) is not None]
    if not any(_could_go_back(state, resident) for resident in leaving):
        return tuple(steps)
    state = _under_way(state, leaving, coming, policy, now_s)
    marked = []
    for step in steps:
        resident = state.find(step.model, step.device)
        if resident is not None and goes_back(state, resident, policy, now_s):
            state = _with_slab(state, step.model, "writing back", policy, now_s)
            predicted = step.predicted + write_back_time(state, step.model, step.device)
            step = replace(step, written_back=True, predicted=predicted)
        marked.append(step)
    return tuple(marked)


def learned_back(state: State, device: DeviceId, size_bytes: int, seconds: float) -> State:
    """`state` after a copy of `size_bytes` from `device` to the RAM tier that took `seconds`."""
    known = state.devices[device]
    back = learn(known.back or replace(known.rates, samples=()), size_bytes, seconds)
    return replace(state, devices={**state.devices, device: replace(known, back=back)})


def _could_go_back(state: State, resident: Resident) -> bool:
    """Whether the healthy GPU that it is on is the only place in memory that has its weights."""
    device, model = resident.device, resident.model
    is_only_copy = state.ram.find(model) is None and len(state.of(model)) == 1
    return is_only_copy and device != CPU and state.devices[device].reading.health == "ok"


def _under_way(
    state: State, leaving: Sequence[Resident], coming: LoadStep | None, policy: Policy, now_s: float
) -> State:
    """`state` when `leaving` are past rescue, and the slab of `coming` is read meanwhile if the tier has room for it."""
    residents = tuple(replace(r, stage="leaving") if r in leaving else r for r in state.residents)
    state = replace(state, residents=residents)
    if coming is None:
        return state
    state = ledger.pend(state, coming.model, coming.device, now_s)
    size_bytes = state.models[coming.model].footprint.weights_bytes
    if state.ram.find(coming.model) is not None or not has_room(state, size_bytes):
        return state
    return _with_slab(state, coming.model, "reading", policy, now_s)


def _with_slab(
    state: State, model: ModelName, stage: Literal["reading", "writing back"], policy: Policy, now_s: float
) -> State:
    size_bytes = state.models[model].footprint.weights_bytes
    for other in slabs_to_drop(state, policy, now_s, size_bytes):
        state = ledger.drop_slab(state, other)
    return ledger.put_slab(state, Slab(model, size_bytes, stage, now_s))


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
