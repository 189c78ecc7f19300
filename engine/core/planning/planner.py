"""`plan()`: what to do for a command, as ordered steps, or why it can't be done. Pure, total and deterministic. A batch is
several commands planned as one, each on the state that the ones before it would leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, assert_never

from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import (
    Batch,
    Command,
    Evict,
    ForceCpu,
    LeaveCpu,
    Load,
    Move,
    SetPin,
    Single,
    Unpin,
    command_text,
)
from engine.core.model_names import unknown_model
from engine.core.models import Pin
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.placement import Bringing, departure, gpus, joining, under_way
from engine.core.planning.ram_tier import with_write_backs
from engine.core.plans import Blocker, EvictStep, LoadStep, PinStep, Plan, Refusal, Step, UnpinStep
from engine.core.policy import Policy
from engine.core.prediction import NOTHING
from engine.core.state import Resident, Situation, Slab, State
from engine.core.texts import in_brief

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
        if found.joins:
            return replace(found, command=batch)
        if clash := next((v for v in found.victims if v.model in brought), None):
            reason = f"{command_text(single)}: {clash.model} would have to leave again; they don't fit together"
            return Refusal(batch, reason, advice=("leave one of them out",))
        steps += found.steps
        reasons += found.reasons if found.steps else ()
        brought |= {load.model for load in found.loads}
        state = after(state, found.steps, now_s)
    return Plan(batch, steps, reasons)


def after(state: State, steps: Iterable[Step], now_s: float) -> State:
    """`state` once `steps` are done, as far as plans can know: leases have ended, and all that was read or written back
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
    if step.written_back:
        state = _with_slab(state, step.model, now_s)
    return replace(state, residents=tuple(r for r in state.residents if r is not gone))


def _with(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    footprint = state.models[model].footprint
    state = _with_slab(state, model, now_s)
    return replace(state, residents=(*state.residents, Resident(model, device, "ready", footprint, now_s)))


def _with_slab(state: State, model: ModelName, now_s: float) -> State:
    return ledger.put_slab(state, Slab(model, state.models[model].footprint.weights_bytes, "kept", now_s))


def plan(state: State, command: Command, policy: Policy, now_s: float, *, ending_runs: bool = False) -> Plan | Refusal:
    """The plan that answers `command` in `state`, or a refusal that says what would let it.

    `ending_runs`: runs that are in the way are ended instead of waited for, and what is in use may leave where nothing else can.
    """

    def plan_single(before: State, single: Single) -> Plan | Refusal:
        situation = Situation(before, policy, now_s)
        return _ending_runs(situation, single) if ending_runs else _plan_single(situation, single)

    return plan_batch(state, command, plan_single, now_s) if isinstance(command, Batch) else plan_single(state, command)


def as_if_idle(state: State) -> State:
    """`state` as if no request were running on a resident."""
    return replace(state, residents=tuple(replace(r, leases=0, work=0) for r in state.residents))


def _ending_runs(situation: Situation, command: Single) -> Plan | Refusal:
    state, found = situation.state, _plan_single(situation, command)
    if isinstance(found, Refusal) and found.may_end_runs:
        found = _plan_single(replace(situation, state=as_if_idle(state)), command)
    if isinstance(found, Refusal):
        return found
    # All its evictions, whoever runs there now: what begins to run until they are carried out is to hold them up no more.
    steps = tuple(_at_once(step, state) if isinstance(step, EvictStep) else step for step in found.steps)
    return replace(found, steps=steps)


def _at_once(step: EvictStep, state: State) -> EvictStep:
    resident = state.find(step.model, step.device)
    return replace(step, leases=resident.leases if resident else 0, drain=NOTHING, at_once=True)


def _plan_single(situation: Situation, command: Single) -> Plan | Refusal:
    state = situation.state
    if command.model not in state.models:
        specs = {name: known.spec for name, known in state.models.items()}
        return Refusal(command, unknown_model(specs, command.model), advice=("citadel models list shows the catalog",))
    if (target := _named_device(command)) is not None and target not in state.devices:
        known = ", ".join(state.devices)
        return Refusal(command, f"there is no device {in_brief(target)}", advice=(f"the devices are {known}",))
    planner = _Planner(situation, command)
    match command:
        case Load():
            found = planner.add if command.also else planner.load
            return found(command.model, command.device)
        case Evict():
            return planner.evict(command.model, command.device)
        case SetPin():
            return planner.pin(command.model, command.device)
        case Unpin():
            return planner.unpin(command.model)
        case ForceCpu():
            return planner.force_cpu(command.model)
        case LeaveCpu():
            return planner.leave_cpu(command.model)
        case Move():
            return planner.move(command.model, command.device)
        case _:
            assert_never(command)


class _Planner:
    """One command in one situation; each method returns the whole answer."""

    def __init__(self, situation: Situation, command: Single) -> None:
        self._situation = situation
        self._state = situation.state
        self._command = command
        self._bring: Final = Bringing(situation, command).plan

    def load(self, model: ModelName, device: DeviceId | None) -> Plan | Refusal:
        pin = self._state.models[model].pin
        if device is not None and pin is not None and pin.device not in (None, device):
            advice = (f"move {model} to {device}: that moves its pin too", f"unpin {model} first")
            return self._refuse(f"{model} is pinned to {pin.device}", advice=advice)
        here = self._staying(model, device)
        if here is not None and here.stage != "ready":
            return joining(self._command, self._state)
        if here is not None and device in (None, here.device):
            return self._nothing(f"{model} is already ready on {here.device}")
        if going := self._draining(model, device):
            return self._nothing(f"{model} was about to leave {going.device}; it stays")
        if here is not None and device is not None:
            return self.move(model, device)
        return self._bring(model, device or (pin.device if pin else None))

    def add(self, model: ModelName, device: DeviceId | None) -> Plan | Refusal:
        """One more copy, on a GPU; the first one like any load."""
        here = self._staying(model, device)
        if here is None:
            return self.load(model, device)
        if here.stage != "ready":
            return joining(self._command, self._state)
        if here.device == device:
            return self._nothing(f"{model} is already ready on {device}")
        if going := self._draining(model, device):
            return self._nothing(f"{model} was about to leave {going.device}; it stays there too")
        if CPU in (device, here.device):
            return self._refuse(
                f"{model} is already ready on {here.device}; copies stand on GPUs only, since requests would wait for the CPU",
                advice=(f"move {model} to {device or 'a GPU'}",) if device != CPU else (),
            )
        free = tuple(d for d in gpus(self._state) if self._state.find(model, d) is None)
        if not free:
            return self._refuse(f"{model} is on every GPU already")
        return self._bring(model, device, among=free)

    def evict(self, model: ModelName, device: DeviceId | None) -> Plan | Refusal:
        leaving = [r for r in self._state.of(model) if device in (None, r.device)]
        if not leaving:
            return self._nothing(f"{model} is not on {device or 'any device'}")
        if blockers := tuple(b for b in under_way(self._state, model) if device in (None, b.device)):
            return self._refuse(f"{model} is being loaded", blockers=blockers, advice=("cancel the load first",))
        # One that drains already may take long, or be rescued: whoever wants it gone waits for that, or ends what it waits for.
        departures = [departure(self._state, r) for r in leaving if r.stage in ("ready", "draining")]
        steps: list[Step] = [*with_write_backs(self._situation, departures, None)]
        pin = self._state.models[model].pin
        if pin is not None and (self._is_last(leaving) or pin.device == device):
            steps.append(UnpinStep(model, pin))
        return self._plan(steps, self._why_nothing_is_lost(model, steps))

    def _is_last(self, leaving: list[Resident]) -> bool:
        """Whether the model is nowhere any more without `leaving`."""
        return not any(
            r not in leaving and r.stage in ("pending", "loading", "ready") for r in self._state.of(leaving[0].model)
        )

    def pin(self, model: ModelName, device: DeviceId | None) -> Plan | Refusal:
        here = self._staying(model, device)
        if device is None or here is None or here.device == device:
            place = f"on {device}" if device else "wherever it is"
            return self._plan(self._pin_steps(model, device), f"{model} will never be a victim; it stays {place}")
        return self._then(self._bring(model, device), self._pin_steps(model, device))

    def force_cpu(self, model: ModelName) -> Plan | Refusal:
        here = self._staying(model)
        if here is not None and here.device == CPU:
            being = "already ready" if here.stage == "ready" else "being loaded"
            return self._plan(self._pin_steps(model, CPU), f"{model} is {being} on the CPU and stays there")
        return self._then(self._bring(model, CPU), self._pin_steps(model, CPU))

    def unpin(self, model: ModelName) -> Plan:
        if self._state.models[model].pin is None:
            return self._nothing(f"{model} is not pinned")
        return self._plan([UnpinStep(model, self._state.models[model].pin)], f"{model} may be a victim again")

    def leave_cpu(self, model: ModelName) -> Plan | Refusal:
        here = self._staying(model)
        pin = self._state.models[model].pin
        steps: list[Step] = [UnpinStep(model, pin)] if pin is not None else []
        if here is not None and here.stage != "ready":
            return joining(self._command, self._state)
        if here is not None and here.device != CPU:
            return self._nothing(f"{model} is already ready on {here.device}, not on the CPU")
        if not gpus(self._state):
            return self._refuse("there is no GPU to go back to")
        return self._then(self._bring(model, None, among=gpus(self._state)), steps)

    def move(self, model: ModelName, device: DeviceId) -> Plan | Refusal:
        here = self._staying(model, device)
        if here is None:
            going = " and ".join(r.device for r in self._state.of(model))
            where = f"leaving {going}" if going else "not on any device"
            return self._refuse(f"{model} is {where}", advice=(f"load it on {device} instead",))
        if here.stage != "ready":
            return joining(self._command, self._state)
        if here.device == device:
            return self._nothing(f"{model} is already ready on {device}")
        pin = self._state.models[model].pin
        follows: list[Step] = [PinStep(model, device, pin)] if pin is not None and pin.device is not None else []
        return self._then(self._bring(model, device), follows)

    def _pin_steps(self, model: ModelName, device: DeviceId | None) -> list[Step]:
        before = self._state.models[model].pin
        return [] if before == Pin(device) else [PinStep(model, device, before)]

    def _why_nothing_is_lost(self, model: ModelName, steps: list[Step]) -> str:
        departures = [s for s in steps if isinstance(s, EvictStep)]
        if any(s.written_back for s in departures):
            return "its weights go back to the RAM tier"
        gone = {s.device for s in departures}
        if staying := sorted({d for s in departures for d in s.stays} - gone):
            return f"it stays on {' and '.join(staying)}"
        return f"its weights stay in the {'disk' if self._state.ram.find(model) is None else 'RAM tier'}"

    def _then(self, answer: Plan | Refusal, steps: list[Step]) -> Plan | Refusal:
        if isinstance(answer, Refusal) or answer.joins:
            return answer
        return replace(answer, steps=(*answer.steps, *steps))

    def _staying(self, model: ModelName, asked: DeviceId | None = None) -> Resident | None:
        """Where the model is or will be, not counting places that it is leaving; on `asked`, if it is there."""
        # while it moves it is in two places: the one that it is coming to counts, since it leaves the other
        staying = [r for r in self._state.of(model) if r.stage in ("pending", "loading", "ready")]
        return min(staying, key=lambda r: (r.stage == "ready", r.device != asked), default=None)

    def _draining(self, model: ModelName, device: DeviceId | None) -> Resident | None:
        draining = (
            r for r in self._state.of(model) if r.stage == "draining" and not r.given_up and device in (None, r.device)
        )
        return next(draining, None)

    def _plan(self, steps: list[Step], reason: str) -> Plan:
        return Plan(self._command, tuple(steps), (reason,))

    def _nothing(self, reason: str) -> Plan:
        return Plan(self._command, (), (reason,))

    def _refuse(self, reason: str, blockers: tuple[Blocker, ...] = (), advice: tuple[str, ...] = ()) -> Refusal:
        return Refusal(self._command, reason, blockers=blockers, advice=advice)


def _named_device(command: Single) -> DeviceId | None:
    return command.device if isinstance(command, Load | Evict | SetPin | Move) else None
