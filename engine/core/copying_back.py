"""Which models that leave a GPU have their weights copied back to the RAM tier first, so that they need not be read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from engine.core import ledger
from engine.core.prediction import learn
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep
from engine.core.policy import Policy
from engine.core.planning.ram_tier import copy_back_time, has_room, slabs_to_drop, worth_copying_back
from engine.core.state import Resident, Slab, State


def goes_back(state: State, leaving: Resident, policy: Policy, now_s: float) -> bool:
    """Whether the weights of `leaving` are to be copied back before they go: they are nowhere else in memory, the tier has
    room or makes it by letting go of what is worth less, and the copy pays."""
    if not _could_go_back(state, leaving):
        return False
    size_bytes = state.models[leaving.model].footprint.weights_bytes
    return has_room(state, size_bytes) and worth_copying_back(state, leaving.model, leaving.device, policy, now_s)


def with_copies_back(
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
            state = _with_slab(state, step.model, "returning", policy, now_s)
            predicted = step.predicted + copy_back_time(state, step.model, step.device)
            step = replace(step, copied_back=True, predicted=predicted)
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
    state: State, model: ModelName, stage: Literal["reading", "returning"], policy: Policy, now_s: float
) -> State:
    size_bytes = state.models[model].footprint.weights_bytes
    for other in slabs_to_drop(state, policy, now_s, size_bytes):
        state = ledger.drop_slab(state, other)
    return ledger.put_slab(state, Slab(model, size_bytes, stage, now_s))
