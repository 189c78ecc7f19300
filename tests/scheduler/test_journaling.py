"""Thrash is a notice: one, while it lasts."""

from __future__ import annotations

from engine.core.policy import Policy
from engine.core.records import Notice
from tests.core.boxes import box
from tests.scheduler.scripted_world import World


def warnings(world: World) -> list[Notice]:
    return [entry for entry in world.written if isinstance(entry, Notice) and entry.level == "warning"]


def take_turns(world: World, times: int) -> None:
    for at in range(times):
        lease = world.ask("ab"[at % 2])
        world.settle()
        world.give_back(lease)
        world.pass_time(1.0)


def test_models_that_chase_each_other_are_told_of_once_an_episode() -> None:
    world = World(box({"a": 50, "b": 50}, {"gpu0": 100}), Policy(min_residency_s=0.0))
    take_turns(world, 4)
    assert warnings(world) == []  # the first one displaced nobody

    take_turns(world, 1)
    (notice,) = warnings(world)
    assert "a and b have displaced each other 4 times" in notice.text
    assert notice.device == "gpu0"

    take_turns(world, 11)
    assert len(warnings(world)) == 1

    world.pass_time(150.0)
    take_turns(world, 6)
    assert len(warnings(world)) == 2
