"""Batches: several commands planned as one, each on the state that the ones before it would leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import Batch, Single, command_text
from engine.core.models import Pin
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Refusal, Step, UnpinStep
from engine.core.state import Resident, Slab, State

PlanSingle: TypeAlias = Callable[[State, Single], Plan | Refusal]


def plan_batch(state: State, batch: Batch, plan_single: PlanSingle, now_s: float) -> Plan | Refusal:
    """One plan for all of `batch`, or why a part of it can't be done: a batch is carried out whole or not at all."""
    steps: tuple[Step, ...] = ()
    reasons: tuple[str, ...] = ()
    brought: set[ModelName] = set()
    for single in batch.commands:
        found = plan_single(state, single)
        if isinstance(found, Refusal):
            return replace(found, command=batch, reason=f"{command_text(single)}: {found.reason}")
        if clash := next((v for v in found.victims if v.model in brought), None):
            reason = f"{command_text(single)}: {clash.model} would have to leave again; they don't fit together"
            return Refusal(batch, reason, advice=("leave one of them out",))
        steps += found.steps
        reasons += found.reasons if found.steps else ()
        brought |= {load.model for load in found.loads}
        state = after(state, found.steps, now_s)
    return Plan(batch, steps, reasons)


def after(state: State, steps: Iterable[Step], now_s: float) -> State:
    """`state` once `steps` are done, as far as plans can know: leases have ended, and all that was read or copied back
    is in the RAM tier."""
    for step in steps:
        match step:
            case EvictStep():
                state = _without(state, step, now_s)
            case LoadStep():
                state = _with(state, step.model, step.device, now_s)
            case PinStep():
                state = ledger.set_pin(state, step.model, Pin(step.device))
            case UnpinStep():
                state = ledger.set_pin(state, step.model, None)
            case _:
                assert_never(step)
    return state


def _without(state: State, step: EvictStep, now_s: float) -> State:
    gone = state.find(step.model, step.device)
    if step.copied_back:
        state = _with_slab(state, step.model, now_s)
    return replace(state, residents=tuple(r for r in state.residents if r is not gone))


def _with(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    footprint = state.models[model].footprint
    state = _with_slab(state, model, now_s)
    return replace(state, residents=(*state.residents, Resident(model, device, "ready", footprint, now_s)))


def _with_slab(state: State, model: ModelName, now_s: float) -> State:
    return ledger.put_slab(state, Slab(model, state.models[model].footprint.weights_bytes, "kept", now_s))
