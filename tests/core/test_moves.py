"""The order of commands that lead from one residency to another."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.commands import Batch, Evict, Load, Move
from engine.core.names import CPU
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.proposals import Gain
from engine.core.proposing.moves import arranged, arrival, gain_of_leaving, movable, room_without, transfer
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_resident
from tests.core.residencies import over_budget, placement, residencies, states_of


def moved(state: State, model: str, target: str) -> Gain:
    return transfer(state, state.of(model)[0], target, "")


def test_what_leaves_goes_before_what_needs_its_room() -> None:
    state = with_resident(box({"old": 60, "new": 60}, {"gpu0": 100}), "old", "gpu0")
    gains = [arrival(state, "new", None, "gpu0"), gain_of_leaving(state, state.residents[0], "")]

    assert arranged(state, gains) == (Evict("old"), Load("new", "gpu0"))


def test_a_model_moves_before_another_takes_its_room() -> None:
    state = with_resident(box({"a": 60, "new": 60}), "a", "gpu0")

    assert arranged(state, [arrival(state, "new", None, "gpu0"), moved(state, "a", "gpu1")]) == (
        Move("a", "gpu1"),
        Load("new", "gpu0"),
    )


def test_of_two_models_that_wait_for_each_others_room_the_one_that_loads_faster_is_loaded_again() -> None:
    state = with_resident(with_resident(box({"large": 70, "small": 40}), "large", "gpu0"), "small", "gpu1")

    assert arranged(state, [moved(state, "large", "gpu1"), moved(state, "small", "gpu0")]) == (
        Evict("small"),
        Move("large", "gpu1"),
        Load("small", "gpu0"),
    )


def test_a_model_that_comes_back_from_the_cpu_moves() -> None:
    state = with_resident(box({"a": 60}), "a", CPU)

    assert arranged(state, [arrival(state, "a", CPU, "gpu0")]) == (Move("a", "gpu0"),)


def test_without_changes_there_are_no_commands() -> None:
    assert arranged(box({"a": 60}), []) == ()


@st.composite
def changes(draw: st.DrawFn) -> tuple[State, list[Gain]]:
    """A residency, and changes that lead to another one that fits."""
    state = draw(residencies())
    moving = [r for r in movable(state) if r.device != CPU]
    rooms = room_without(state, moving)
    gains = []
    for resident in moving:
        size_bytes = resident.footprint.total_bytes
        elsewhere = [d for d, left in rooms.items() if left >= size_bytes and d != resident.device]
        target = draw(st.sampled_from(elsewhere)) if elsewhere else None
        if target is not None:
            rooms[target] -= size_bytes
        if target is None:
            gains.append(gain_of_leaving(state, resident, ""))
        else:
            gains.append(transfer(state, resident, target, ""))
    return state, gains


@given(changes())
@settings(deadline=None)
def test_from_any_residency_to_any_other_that_fits_no_step_overfills_a_device(drawn: tuple[State, list[Gain]]) -> None:
    state, gains = drawn
    found = plan(state, Batch("rearrange", arranged(state, gains)), Policy(), NOW_S)

    assert isinstance(found, Plan)
    assert not found.victims
    *_, end = state, *states_of(state, found)
    assert not any(over_budget(between) for between in states_of(state, found))
    targets = {gain.model: {gain.target} for gain in gains}
    assert {m: placement(end).get(m, {None}) for m in targets} == targets
    assert all(placement(end)[r.model] == placement(state)[r.model] for r in state.residents if r.model not in targets)
