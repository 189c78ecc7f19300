"""Which items get room: against trying everything, against a solver, and how far the best proven bound is."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instances import KINDS, Instance, Kind, instance
from engine.core.proposing.multiple_knapsack import Assignment, Item, assign

NOWHERE = None


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Item], dict[str, int]]:
    rooms = {f"gpu{n}": draw(st.integers(-3, 12)) for n in range(draw(st.integers(1, 3)))}
    items = [
        Item(
            name=f"m{n}",
            size_bytes=draw(st.integers(0, 9)),
            value=draw(st.integers(0, 20)) / 2,
            home=draw(st.sampled_from([None, "gpu0", "gpu1"])),
            moving_cost=draw(st.integers(0, 6)) / 2,
        )
        for n in range(draw(st.integers(0, 6)))
    ]
    return items, rooms


def value_of(items: list[Item], placements: dict[str, str]) -> float:
    placed = [(item, placements[item.name]) for item in items if item.name in placements]
    return sum(item.value - (item.moving_cost if room != item.home else 0.0) for item, room in placed)


def fits(items: list[Item], placements: dict[str, str], rooms: dict[str, int]) -> bool:
    taken = {room: sum(i.size_bytes for i in items if placements.get(i.name) == room) for room in rooms}
    return all(taken[room] <= max(0, rooms[room]) for room in rooms)


def best_of_all(items: list[Item], rooms: dict[str, int]) -> float:
    choices = product([NOWHERE, *rooms], repeat=len(items))
    every = ({i.name: room for i, room in zip(items, chosen, strict=True) if room} for chosen in choices)
    return max(value_of(items, placements) for placements in every if fits(items, placements, rooms))


@given(problems())
def test_the_best_of_all_is_found_and_proven(problem: tuple[list[Item], dict[str, int]]) -> None:
    items, rooms = problem
    found = assign(items, rooms)

    assert fits(items, found.placements, rooms)
    assert found.value == pytest.approx(value_of(items, found.placements))
    assert found.value == pytest.approx(best_of_all(items, rooms))
    assert found.proven


@given(problems(), st.integers(0, 200))
def test_a_search_that_is_cut_off_still_knows_how_much_better_it_could_be(
    problem: tuple[list[Item], dict[str, int]], limit: int
) -> None:
    items, rooms = problem
    found = assign(items, rooms, limit)

    assert fits(items, found.placements, rooms)
    assert found.value <= best_of_all(items, rooms) + 1e-9 <= found.bound + 2e-9


@given(problems())
def test_the_order_in_which_items_come_does_not_matter(problem: tuple[list[Item], dict[str, int]]) -> None:
    items, rooms = problem

    assert assign(items, rooms) == assign(items[::-1], rooms)


def test_what_is_at_home_stays_there_when_moving_gains_nothing() -> None:
    items = [Item("a", 4, 5.0, "gpu0", 1.0), Item("b", 4, 5.0, "gpu1", 1.0), Item("c", 4, 9.0, None, 1.0)]

    assert assign(items, {"gpu0": 8, "gpu1": 8}).placements == {"a": "gpu0", "b": "gpu1", "c": "gpu0"}


def test_something_moves_when_only_that_makes_the_room() -> None:
    items = [Item("a", 3, 5.0, "gpu0", 1.0), Item("b", 3, 5.0, "gpu1", 1.0), Item("c", 6, 9.0, None, 1.0)]

    assert assign(items, {"gpu0": 6, "gpu1": 6}).value == 5.0 + (5.0 - 1.0) + (9.0 - 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("models", [20, 100])
def test_on_two_devices_the_optimum_is_proven(kind: Kind, models: int) -> None:
    for seed in range(5):
        assert solved(instance(kind, models, 2, seed)).proven


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_thousand_models_on_64_devices_the_bound_is_near(kind: Kind) -> None:
    assert solved(instance(kind, 1000, 64, 1)).gap < 0.005


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("models", [20, 100])
def test_a_solver_finds_nothing_better(kind: Kind, models: int) -> None:
    highspy: Any = pytest.importorskip("highspy", reason="the solver highspy is not installed")
    problem = instance(kind, models, 2, 0)
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("time_limit", 10.0)
    used = [[solver.addBinary(obj=-item.value) for _ in problem.rooms] for item in problem.items]
    for choices in used:
        solver.addConstr(sum(choices) <= 1)
    for number, room_bytes in enumerate(problem.rooms.values()):
        sizes = (i.size_bytes / 1e6 * u[number] for i, u in zip(problem.items, used, strict=True))
        solver.addConstr(sum(sizes) <= room_bytes / 1e6)
    solver.run()

    assert solved(problem).value >= -solver.getInfo().objective_function_value * (1 - 1e-6)


def solved(problem: Instance) -> Assignment:
    return assign(problem.items, problem.rooms)
