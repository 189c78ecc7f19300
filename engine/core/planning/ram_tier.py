"""What the RAM tier lets go when it is short, and which victims' bytes are worth a place in it.

Copies of models that are on a GPU go before those of models that rest in the tier; within each kind the policy chooses, as it
chooses victims, by what reading the model again from disk would take.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal

from msgspec.structs import replace

from engine.core import ledger
from engine.core.forecast.costs import reading
from engine.core.ledger import slab_in_use
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.eviction import Leaver, WriteBack, eviction_policy
from engine.core.planning.knapsack_cover import Need
from engine.core.plans import EvictStep, LoadStep
from engine.core.prediction import Prediction, learn, predict
from engine.core.sizes import MIB
from engine.core.state import Resident, Situation, Slab, State

BUDGET_STEP_BYTES: Final = 64 * MIB
"""Of a budget that the host bounds: what is available moves all the time, and each new budget is a new state for everybody."""


def within_host(state: State, left_bytes: int) -> State:
    """The tier's budget, now that the host has `left_bytes` for more slabs: what the configuration says, or less."""
    ram = state.ram
    if ram.most_bytes is None:
        return state
    there_bytes = sum(slab.size_bytes for slab in state.tier_slabs) + left_bytes
    in_steps = max(0, there_bytes) // BUDGET_STEP_BYTES * BUDGET_STEP_BYTES
    budget_bytes = ram.most_bytes if there_bytes >= ram.most_bytes else in_steps
    return state if budget_bytes == ram.budget_bytes else replace(state, ram=replace(ram, budget_bytes=budget_bytes))


def resting(state: State) -> tuple[Slab, ...]:
    """The slabs of models that are not on any device: the only ones that an exclusive tier holds."""
    return tuple(s for s in state.ram.slabs if not _stays_on_a_device(state, s.model))


def slabs_to_drop(
    situation: Situation, coming_bytes: int = 0, leaving: Collection[Resident] = ()
) -> tuple[ModelName, ...]:
    """What to let go, in order, for the tier to hold its limits with `coming_bytes` more; as much as is possible of it. Residents
    that are `leaving` soon count as gone: their copies will be all that there is of them.

    A load is never refused for want of a place in the tier: while it runs the tier may be over its limits by that one slab.
    """
    # Two rounds. While a model is on a GPU its copy here saves nobody anything yet, and can be written back when the model
    # leaves. So no demand, however high, keeps a copy above a slab that is all there is of its model in memory: the policy
    # decides among the copies first, and among the rest only about what is missing then.
    state = situation.state
    counted = state.tier_slabs
    need = excess(state, counted, coming_bytes)
    if need.is_met:  # nearly always, and this is asked after every message
        return ()
    staying = {r.model for r in state.residents if r.stage in ("ready", "loading") and r not in leaving}
    idle = [s for s in counted if _is_idle(state, s)]
    copies = [s for s in idle if s.model in staying]
    drops = let_go(situation, copies, need)
    left = [s for s in counted if s.model not in drops]
    rest = [s for s in idle if s not in copies]
    return (*drops, *let_go(situation, rest, excess(state, left, coming_bytes)))


def has_room(state: State, coming_bytes: int) -> bool:
    """Whether the tier can hold its limits with `coming_bytes` more, letting go of what it may."""
    return excess(state, [s for s in state.tier_slabs if not _is_idle(state, s)], coming_bytes).is_met


def excess(state: State, slabs: Sequence[Slab], coming_bytes: int = 0) -> Need:
    """What must leave for the tier to hold `slabs` and one more of `coming_bytes`, if that is not 0."""
    size_bytes = sum(s.size_bytes for s in slabs) + coming_bytes
    count = len(slabs) + (1 if coming_bytes else 0)
    return Need(size_bytes - state.ram.budget_bytes, count - state.ram.max_models)


def let_go(situation: Situation, slabs: Sequence[Slab], need: Need) -> tuple[ModelName, ...]:
    """Those of `slabs` that the policy gives up to meet `need`, in order; all of them when that is not enough."""
    if need.is_met:
        return ()
    eviction = eviction_policy(situation.policy)
    ordered = eviction.order(situation, [_leaver(situation.state, s.model, s.size_bytes) for s in slabs])
    cover = eviction.choose_slabs(ordered, need)
    return tuple(c.name for c in (ordered if cover is None else cover))


def worth_writing_back(situation: Situation, model: ModelName, device: DeviceId) -> bool:
    """Whether the policy holds the bytes of `model`, which is to leave `device`, to be worth writing back to the RAM tier."""
    state = situation.state
    size_bytes = state.models[model].footprint.weights_bytes
    others = [s for s in resting(state) if s.model != model]
    leavers = [_leaver(state, s.model, s.size_bytes) for s in others if _is_idle(state, s)]
    eviction = eviction_policy(situation.policy)
    ordered = eviction.order(situation, [*leavers, _leaver(state, model, size_bytes)])
    [returning] = [c for c in ordered if c.name == model]
    copy_s = write_back_time(state, model, device).p50_s
    return eviction.keeps(
        ordered, WriteBack(returning, copy_s, excess(state, others, size_bytes), excess(state, others))
    )


def write_back_time(state: State, model: ModelName, device: DeviceId) -> Prediction:
    """What copying the weights of `model` from `device` to the RAM tier will take."""
    known = state.devices[device]
    return predict(known.back or known.rates, state.models[model].footprint.weights_bytes)


def _leaver(state: State, model: ModelName, size_bytes: int) -> Leaver:
    return Leaver(model, size_bytes, reading(state, model, size_bytes).p50_s)


def _is_idle(state: State, slab: Slab) -> bool:
    return slab.stage == "kept" and not slab_in_use(state, slab.model)


def _stays_on_a_device(state: State, model: ModelName) -> bool:
    return any(r.stage in ("ready", "loading") for r in state.of(model))


def goes_back(situation: Situation, leaving: Resident) -> bool:
    """Whether the weights of `leaving` are to be written back before they go: they are nowhere else in memory, the tier has
    room or makes it by letting go of what is worth less, and the copy pays."""
    state = situation.state
    if not _could_go_back(state, leaving, ()):
        return False
    size_bytes = state.models[leaving.model].footprint.weights_bytes
    return has_room(state, size_bytes) and worth_writing_back(situation, leaving.model, leaving.device)


def with_write_backs(
    situation: Situation, steps: Sequence[EvictStep], coming: LoadStep | None
) -> tuple[EvictStep, ...]:
    """`steps`, which make room for `coming`, with those marked whose weights go back, and the time of the copies added."""
    # Every write-back takes a place in the tier, so each is judged in the tier that the ones before, and the slab of `coming`,
    # would leave. The flow judges again when the moment has come (`goes_back`): this is what the preview promises and counts.
    state = situation.state
    leaving = [r for s in steps if (r := state.find(s.model, s.device)) is not None]
    if not any(_could_go_back(state, resident, leaving) for resident in leaving):
        return tuple(steps)
    situation = _under_way(situation, leaving, coming)
    marked = []
    for step in steps:
        resident = situation.state.find(step.model, step.device)
        if resident is not None and goes_back(situation, resident):
            situation = _with_slab(situation, step.model, "writing back")
            predicted = step.predicted + write_back_time(situation.state, step.model, step.device)
            step = replace(step, written_back=True, predicted=predicted)
        marked.append(step)
    return tuple(marked)


def learned_back(state: State, device: DeviceId, size_bytes: int, seconds: float) -> State:
    """`state` after a copy of `size_bytes` from `device` to the RAM tier that took `seconds`."""
    known = state.devices[device]
    back = learn(known.back or replace(known.rates, samples=()), size_bytes, seconds)
    return replace(state, devices={**state.devices, device: replace(known, back=back)})


def _could_go_back(state: State, resident: Resident, leaving: Sequence[Resident]) -> bool:
    """Whether the healthy GPU that it is on is the only place in memory that has its weights, once `leaving` have left."""
    device, model = resident.device, resident.model
    others = (r for r in state.of(model) if r is not resident and r not in leaving)
    stays = any(r.stage in ("pending", "loading", "ready") for r in others)
    return (
        not stays and state.ram.find(model) is None and device != CPU and state.devices[device].reading.health == "ok"
    )


def _under_way(situation: Situation, leaving: Sequence[Resident], coming: LoadStep | None) -> Situation:
    """`situation` when `leaving` are past rescue, and the slab of `coming` is read meanwhile if the tier has room for it."""
    state = situation.state
    residents = tuple(replace(r, stage="leaving") if r in leaving else r for r in state.residents)
    state = replace(state, residents=residents)
    if coming is None:
        return replace(situation, state=state)
    state = ledger.pend(state, coming.model, coming.device, situation.now_s)
    situation = replace(situation, state=state)
    size_bytes = state.models[coming.model].footprint.weights_bytes
    if state.ram.find(coming.model) is not None or not has_room(state, size_bytes):
        return situation
    return _with_slab(situation, coming.model, "reading")


def _with_slab(situation: Situation, model: ModelName, stage: Literal["reading", "writing back"]) -> Situation:
    state = situation.state
    size_bytes = state.models[model].footprint.weights_bytes
    for other in slabs_to_drop(situation, size_bytes):
        state = ledger.drop_slab(state, other)
    state = ledger.put_slab(state, Slab(model, size_bytes, stage, situation.now_s))
    return replace(situation, state=state)
