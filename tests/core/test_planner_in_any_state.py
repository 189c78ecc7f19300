"""Whatever the state and the command: a plan keeps every budget at each of its steps, and is the same one each time."""

from __future__ import annotations

import random
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.commands import Command, Evict, Load, Move
from engine.core.ledger import budget, charged
from engine.core.planning.planner import after, plan
from engine.core.plans import LoadStep, Plan, Refusal
from engine.core.policy import Eviction, Policy
from engine.core.state import State
from tests.core.boxes import NOW_S
from tests.core.residencies import over_budget, residencies, states_of


@st.composite
def situations(draw: st.DrawFn) -> tuple[State, Command]:
    """A residency, and something that is asked for in it."""
    state = draw(residencies())
    models, devices = st.sampled_from(list(state.models)), st.sampled_from(list(state.devices))
    commands: st.SearchStrategy[Command] = (
        st.builds(Load, models, st.none() | devices, also=st.booleans())
        | st.builds(Move, models, devices)
        | st.builds(Evict, models, st.none() | devices)
    )
    return state, draw(commands)


POLICIES = st.builds(
    Policy,
    eviction=st.sampled_from(get_args(Eviction)),
    balancing=st.sampled_from(["spread", "pack", "most_free"]),
)


@settings(deadline=None, max_examples=300)
@given(situations(), POLICIES)
def test_no_step_of_a_plan_takes_a_device_over_its_budget(situation: tuple[State, Command], policy: Policy) -> None:
    state, command = situation
    found = plan(state, command, policy, NOW_S)

    assert isinstance(found, Refusal) or all(not over_budget(between) for between in states_of(state, found))


@settings(deadline=None, max_examples=300)
@given(situations(), POLICIES)
def test_victims_are_neither_pinned_nor_leased_nor_superfluous(
    situation: tuple[State, Command], policy: Policy
) -> None:
    state, command = situation
    found = plan(state, command, policy, NOW_S)
    if isinstance(found, Refusal):
        assert found.reason
        return

    for victim in found.victims:
        resident = state.find(victim.model, victim.device)
        assert resident is not None
        assert not resident.leases
        assert not state.is_pinned(resident)
        kept = after(state, [s for s in found.steps if s != victim and not isinstance(s, LoadStep)], NOW_S)
        coming = found.loads[0]
        assert charged(kept, coming.device) + coming.size_bytes > budget(kept, coming.device)


@settings(deadline=None, max_examples=300)
@given(situations(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_in_which_models_came_does_not_change_the_plan(
    situation: tuple[State, Command], policy: Policy, order: random.Random
) -> None:
    """But of one model's copies the oldest is the one that a pin holds."""
    state, command = situation
    models = [resident.model for resident in state.residents]
    order.shuffle(models)
    in_turn = {model: iter(state.of(model)) for model in models}
    shuffled = replace(state, residents=tuple(next(in_turn[model]) for model in models))

    found, again = plan(state, command, policy, NOW_S), plan(shuffled, command, policy, NOW_S)

    assert type(found) is type(again)
    if isinstance(found, Plan) and isinstance(again, Plan):
        assert sorted(found.effects.split("; ")) == sorted(again.effects.split("; "))
    assert plan(state, command, policy, NOW_S) == found
