"""What is written down without being asked for: thrash, once while it lasts; residency, whenever it has changed."""

from __future__ import annotations

from engine.core.commands import Load, SetPin
from engine.core.policy import Policy
from engine.core.records import Notice, Residency
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


def test_residency_is_written_when_it_changes_and_not_while_a_dead_workers_models_are_away() -> None:
    world = World(box({"a": 10}))
    world.submit(Load("a"))
    world.settle()
    world.submit(SetPin("a"))
    world.kill_worker("gpu0")
    world.settle()

    written = [(e.residents, e.pins) for e in world.written if isinstance(e, Residency)]
    assert written == [((("a", "gpu0"),), {}), ((("a", "gpu0"),), {"a": None})]
