"""States with any residency and demand, for properties of proposals; and the states that a plan leads through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from engine.core.forecast.demand import request_came
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.planner import after
from engine.core.plans import Plan
from engine.core.proposing.moves import room_without
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_pin, with_resident, with_slab


@st.composite
def residencies(draw: st.DrawFn) -> State:
    """Up to three GPUs and eight models, some resident on one or several of them, leased, pinned or in the RAM tier, all asked
    for at random."""
    gpus = {f"gpu{n}": draw(st.integers(20, 80)) for n in range(draw(st.integers(1, 3)))}
    models = {f"m{n}": draw(st.integers(1, 40)) for n in range(draw(st.integers(1, 8)))}
    state = box(models, gpus, max_models=8)
    for model in models:
        place = draw(st.sampled_from(["nowhere", CPU, *gpus, *gpus, *gpus]))
        if place == CPU or room_without(state, ()).get(place, 0) >= models[model] * MIB:
            state = with_resident(state, model, place, leases=draw(st.sampled_from([0, 0, 0, 1])))
            if place != CPU and draw(st.integers(0, 3)) == 0:
                state = with_copies(state, model, draw(st.sets(st.sampled_from(list(gpus)))))
        elif draw(st.booleans()):
            state = with_slab(state, model)
        if draw(st.integers(0, 5)) == 0:
            state = with_pin(state, model, draw(st.sampled_from([None, place if place in state.devices else None])))
    return after_requests(state, draw(st.lists(st.sampled_from(list(models)), max_size=30)))


def with_copies(state: State, model: ModelName, gpus: Iterable[DeviceId]) -> State:
    """`model` on those of `gpus` that have room for it, too."""
    size_bytes = state.models[model].footprint.total_bytes
    for device in sorted(gpus):
        if state.find(model, device) is None and room_without(state, ())[device] >= size_bytes:
            state = with_resident(state, model, device)
    return state


def after_requests(state: State, models: Iterable[ModelName]) -> State:
    """`state` after requests for `models`, in order."""
    for model in models:
        state = request_came(state, model, NOW_S)
    return state


def states_of(state: State, plan: Plan) -> Iterator[State]:
    """The state after each step of `plan`."""
    for step in plan.steps:
        state = after(state, [step], NOW_S)
        yield state


def placement(state: State) -> dict[ModelName, set[DeviceId]]:
    """Where each resident model is."""
    return {r.model: {here.device for here in state.of(r.model)} for r in state.residents}


def over_budget(state: State) -> list[DeviceId]:
    """Devices that hold more than they may."""
    return [device for device, room_bytes in room_without(state, ()).items() if room_bytes < 0]
