"""An untimed replay: the requests in their order, each served from a GPU before the next one comes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import Load
from engine.core.forecast.demand import request_came
from engine.core.prediction import predict
from engine.core.names import ModelName
from engine.core.planning.planner import plan
from engine.core.plans import LoadStep, Plan
from engine.core.policy import Policy
from engine.core.planning.ram_tier import excess, let_go, resting, worth_copying_back
from engine.core.state import Slab, State
from engine.replay.foresight import Outlook


class Outcome(Struct, frozen=True):
    """What a policy did with a trace."""

    switch_s: float
    """Seconds of copying to GPUs and of reading from disk, of all loads."""
    requests: int
    """Consecutive ones for the same model counted once."""
    loads: int
    disk_loads: int
    """Of the loads, those that had to read from disk first."""
    to_gpu_bytes: int
    from_disk_bytes: int
    to_ram_bytes: int
    """Copied back from a GPU, of victims that were worth keeping in RAM."""
    utilization: float | None
    """Mean share of the GPUs' budget that models filled, over the requests since the first eviction; None without one."""

    @property
    def hit_ratio(self) -> float:
        """Share of the requests whose model was on a GPU already."""
        return 1 - self.loads / self.requests


def replay(start: State, models: Sequence[ModelName], policy: Policy, outlook: Outlook) -> Outcome:
    """Serve requests for `models`, in order, from `start`, deciding by `policy` with the knowledge of `outlook`."""
    policy = replace(policy, cpu_fallback=False, min_residency_s=0.0)
    budget_bytes = sum(ledger.budget(start, device) for device in start.devices)
    state, switches, filled = start, list[_Switch](), list[float]()
    under_pressure = False
    for number, model in enumerate(models):
        # the number of the request is the clock: the order is all that an untimed replay knows
        now_s = float(number + 1)
        state = request_came(state, model, now_s)
        if not state.of(model):
            state, switch = _switch(outlook.informed(state, number), model, policy, now_s)
            switches.append(switch)
            under_pressure = under_pressure or switch.evicted
        if under_pressure:
            filled.append(sum(r.footprint.total_bytes for r in state.residents) / budget_bytes)
    return Outcome(
        switch_s=sum(_moving_s(start, s.load) for s in switches),
        requests=len(models),
        loads=len(switches),
        disk_loads=sum(s.load.tier == "disk" for s in switches),
        to_gpu_bytes=sum(s.load.size_bytes for s in switches),
        from_disk_bytes=sum(s.load.size_bytes for s in switches if s.load.tier == "disk"),
        to_ram_bytes=sum(s.to_ram_bytes for s in switches),
        utilization=sum(filled) / len(filled) if filled else None,
    )


def _moving_s(box: State, load: LoadStep) -> float:
    """Seconds that the bytes of `load` occupy the link to the GPU, plus those that they occupy the disk. A load is predicted
    to take less than the sum, since it copies while it reads; what a policy costs is what it keeps busy."""
    copy_s = predict(box.devices[load.device].rates, load.size_bytes).p50_s
    return copy_s + (predict(box.disk, load.size_bytes).p50_s if load.tier == "disk" else 0.0)


class _Switch(Struct, frozen=True):
    load: LoadStep
    evicted: bool
    to_ram_bytes: int


def _switch(state: State, model: ModelName, policy: Policy, now_s: float) -> tuple[State, _Switch]:
    """Carry out the planner's plan for `model` through the ledger, which refuses whatever breaks a budget."""
    found = plan(state, Load(model), policy, now_s)
    # every model fits the largest GPU, and nothing on it is pinned, leased or too young to leave
    assert isinstance(found, Plan)
    assert found.load is not None
    for step in found.victims:
        state = ledger.leave(state, step.model, step.device, now_s)
        state = ledger.release_bytes(state, step.model, step.device, 0)
    load = found.load
    state = ledger.pend(state, model, load.device, now_s)
    state = ledger.reserve(state, model, load.device, now_s)
    state = ledger.arrive(state, model, load.device, now_s)
    state = ledger.put_slab(state, Slab(model, load.size_bytes, "kept", now_s))
    state = _tier_kept(state, found, policy, now_s)
    copied = [step.size_bytes for step in found.victims if state.ram.find(step.model) is not None]
    return state, _Switch(load, bool(found.victims), sum(copied))


def _tier_kept(state: State, done: Plan, policy: Policy, now_s: float) -> State:
    """`state` with the victims that pay for it copied back to the RAM tier, and the tier within its limits.

    The tier is exclusive. A resident keeps its slab on the books, so that the planner prices its reload from where it would
    land; only slabs at rest count.
    """
    for step in done.victims:
        if not worth_copying_back(state, step.model, step.device, policy, now_s):
            state = ledger.drop_slab(state, step.model)
    slabs = resting(state)
    for model in let_go(state, slabs, excess(state, slabs), policy, now_s):
        state = ledger.drop_slab(state, model)
    return state
