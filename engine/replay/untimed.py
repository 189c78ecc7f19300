"""An untimed replay: the requests in their order, each served from a GPU before the next one comes.

A policy decides with what it may know: the demand that the engine has counted, or, for a bound, the requests to come. Policies
are compared side by side on one trace and one box, each with how far it is from the one that knew the future.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, get_args

from msgspec import Struct
from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import Load
from engine.core.forecast.demand import SPANS_REQUESTS, request_came
from engine.core.insight.budget_use import BudgetMeter, gpus_share
from engine.core.names import ModelName
from engine.core.planning.eviction import eviction_policy
from engine.core.planning.planner import plan
from engine.core.planning.ram_tier import excess, let_go, resting, worth_writing_back
from engine.core.plans import LoadStep, Plan
from engine.core.policy import Eviction, Policy
from engine.core.prediction import predict
from engine.core.state import Situation, Slab, State
from engine.recording.trace import TraceRequest, without_repeats
from engine.replay.box import Box, starting_state

_SCALE: Final = 1e6
"""Makes the engine's prior demand, a fraction of one request, vanish beside what is known for certain."""


class Outlook(Protocol):
    """What a policy may know when it decides."""

    def informed(self, state: State, number: int) -> State:
        """`state` with the demand that the policy goes by at request `number`."""


class Hindsight:
    """The demand that the engine itself has counted."""

    def informed(self, state: State, number: int) -> State:
        return state


class Foresight(ABC):
    """Demand that is read off the requests themselves, those to come included."""

    def __init__(self, models: Sequence[ModelName]) -> None:
        self._asked_at: dict[ModelName, list[int]] = {}
        for number, model in enumerate(models):
            self._asked_at.setdefault(model, []).append(number)

    def informed(self, state: State, number: int) -> State:
        models = {
            name: replace(
                known,
                demand=replace(
                    known.demand,
                    weights=(self.weight(self._asked_at.get(name, []), number),) * len(SPANS_REQUESTS),
                    at_request=state.request_count,
                ),
            )
            for name, known in state.models.items()
        }
        return replace(state, models=models)

    @abstractmethod
    def weight(self, asked_at: Sequence[int], number: int) -> float:
        """What a model asked for by the requests `asked_at`, which rise, weighs at request `number`."""


class Clairvoyance(Foresight):
    """The true future: a model weighs the reciprocal of the number of requests until its next one, and 0 if there is none.

    With the planner's exact victim sets this is Belady's rule weighed by reload cost. Sizes make the true optimum
    NP-hard; this is a reference that no policy without the future is expected to reach, not a proven minimum.
    """

    def weight(self, asked_at: Sequence[int], number: int) -> float:
        later = bisect_right(asked_at, number)
        return _SCALE / (asked_at[later] - number) if later < len(asked_at) else 0.0


class ReplayFigures(Struct, frozen=True):
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
    """Written back from a GPU, of victims that were worth keeping in RAM."""
    utilization: float | None
    """Mean share of the GPUs' budget that models filled, over the requests since the first eviction; None without one."""

    @property
    def hit_ratio(self) -> float:
        """Share of the requests whose model was on a GPU already."""
        return 1 - self.loads / self.requests


def replay(
    start: State, models: Sequence[ModelName], policy: Policy, outlook: Outlook, tier: Outlook | None = None
) -> ReplayFigures:
    """Serve requests for `models`, in order, from `start`, deciding by `policy` with the knowledge of `outlook`; what stays in
    the RAM tier with that of `tier`, which is `outlook` unless told."""
    tier = tier or outlook
    policy = replace(policy, cpu_fallback=False, min_residency_s=0.0)
    state, switches, pressed = start, list[_Switch](), BudgetMeter()
    under_pressure = False
    for number, model in enumerate(models):
        # the number of the request is the clock: the order is all that an untimed replay knows
        now_s = float(number + 1)
        state = request_came(eviction_policy(policy).asked(state, model), model, now_s)
        if not state.of(model):
            state, switch = _switch(state, number, model, policy, outlook, tier)
            switches.append(switch)
            under_pressure = under_pressure or switch.evicted
        if under_pressure and (share := gpus_share(state)) is not None:
            pressed.hold(share, 1.0)
    use = pressed.use
    return ReplayFigures(
        switch_s=sum(_moving_s(start, s.load) for s in switches),
        requests=len(models),
        loads=len(switches),
        disk_loads=sum(s.load.tier == "disk" for s in switches),
        to_gpu_bytes=sum(s.load.size_bytes for s in switches),
        from_disk_bytes=sum(s.load.size_bytes for s in switches if s.load.tier == "disk"),
        to_ram_bytes=sum(s.to_ram_bytes for s in switches),
        utilization=use.mean if use else None,
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


def _switch(
    counted: State, number: int, model: ModelName, policy: Policy, outlook: Outlook, tier: Outlook
) -> tuple[State, _Switch]:
    """Carry out the planner's plan for `model` through the ledger, which refuses whatever breaks a budget. What the outlooks
    know is forgotten afterwards: the demand stays as counted."""
    now_s = float(number + 1)
    state = outlook.informed(counted, number)
    found = plan(state, Load(model), policy, now_s)
    # every model fits the largest GPU, and nothing on it is pinned, leased or too young to leave
    assert isinstance(found, Plan)
    assert found.load is not None
    for step in found.victims:
        state = ledger.leave(state, step.model, step.device, now_s)
        state = eviction_policy(policy).left(state, step.model, step.device)
        state = ledger.release_bytes(state, step.model, step.device, 0)
    load = found.load
    state = ledger.pend(state, model, load.device, now_s)
    state = ledger.reserve(state, model, load.device, now_s)
    state = ledger.arrive(state, model, load.device, now_s)
    state = ledger.put_slab(state, Slab(model, load.size_bytes, "kept", now_s))
    state = tier.informed(_with_demand_of(counted, state), number)
    state = _tier_kept(Situation(state, policy, now_s), found)
    copied = [step.size_bytes for step in found.victims if state.ram.find(step.model) is not None]
    return _with_demand_of(counted, state), _Switch(load, bool(found.victims), sum(copied))


def _with_demand_of(counted: State, state: State) -> State:
    models = {name: replace(known, demand=counted.models[name].demand) for name, known in state.models.items()}
    return replace(state, models=models)


def _tier_kept(situation: Situation, done: Plan) -> State:
    """The state with the victims that pay for it written back to the RAM tier, and the tier within its limits.

    The tier is exclusive. A resident keeps its slab on the books, so that the planner prices its reload from where it would
    land; only slabs at rest count.
    """
    for step in done.victims:
        if not worth_writing_back(situation, step.model, step.device):
            situation = replace(situation, state=ledger.drop_slab(situation.state, step.model))
    state = situation.state
    slabs = resting(state)
    for model in let_go(situation, slabs, excess(state, slabs)):
        state = ledger.drop_slab(state, model)
    return state


EVICTIONS: Final[tuple[Eviction, ...]] = get_args(Eviction)
ENOUGH_REQUESTS: Final = 400
"""Repeats counted once. With fewer, a comparison says more about chance than about policies (`python -m benchmarks.enough`)."""


class PolicyComparison(Struct, frozen=True):
    """What each policy did, and the reference that knew the future."""

    box: Box
    sizes: dict[ModelName, int]
    requests: int
    """Of the trace, repeats included."""
    policies: dict[Eviction, ReplayFigures]
    clairvoyant: ReplayFigures

    def regret(self, outcome: ReplayFigures) -> float:
        """By which share `outcome` took longer than knowing the future would have."""
        return outcome.switch_s / self.clairvoyant.switch_s - 1


def compare_policies(
    requests: Sequence[TraceRequest],
    box: Box,
    sizes: Mapping[ModelName, int],
    evictions: Sequence[Eviction] = EVICTIONS,
) -> PolicyComparison:
    """Replay `requests` on `box` once for each of `evictions`, and once with the future known."""
    start = starting_state(box, sizes)
    models = without_repeats(requests)
    return PolicyComparison(
        box=box,
        sizes=dict(sizes),
        requests=len(requests),
        policies={name: replay(start, models, Policy(eviction=name), Hindsight()) for name in evictions},
        clairvoyant=replay(start, models, Policy(), Clairvoyance(models)),
    )
