"""What is written down without being asked for: thrash, once while it lasts; residency, at first and whenever it has changed."""

from __future__ import annotations

from engine.core.commands import Load, SetPin
from engine.core.devices import Reading
from engine.core.policy import Policy
from engine.core.records import Notice
from engine.scheduler.effects import StartWorker
from engine.scheduler.messages import DeviceRead
from tests.core.boxes import box
from tests.scheduler.scripted_world import World


def lose_worker(world: World, device: str) -> None:
    """It dies, and no other comes up in its place."""
    world.kill_worker(device)
    world.waiting.remove(world.expect(StartWorker))


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
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    over = [entry for entry in world.written if isinstance(entry, Notice) and entry.over]
    assert [(entry.text, entry.condition) for entry in over] == [
        ("a and b displaced each other, and have not for 2 min", notice.condition)
    ]

    take_turns(world, 6)
    assert len(warnings(world)) == 2


def test_residency_is_kept_when_it_changes_and_not_while_a_dead_workers_models_are_away() -> None:
    world = World(box({"a": 10}))
    world.submit(Load("a"))
    world.settle()
    world.submit(SetPin("a"))
    world.kill_worker("gpu0")
    world.settle()

    kept = [(one.residents, one.pins) for one in world.residencies]
    assert kept == [((), {}), ((("a", "gpu0"),), {}), ((("a", "gpu0"),), {"a": None})]


def test_a_pin_is_kept_also_while_a_dead_workers_models_are_away() -> None:
    world = World(box({"a": 10, "b": 10}, {"gpu0": 100, "gpu1": 100}))
    world.submit(Load("a", "gpu0"))
    world.settle()
    lose_worker(world, "gpu0")
    world.submit(Load("b", "gpu1"))
    world.settle()
    world.submit(SetPin("b"))

    newest = world.residencies[-1]
    assert set(newest.residents) == {("a", "gpu0"), ("b", "gpu1")}
    assert newest.pins == {"b": None}


def test_what_has_come_elsewhere_meanwhile_is_kept_there_only() -> None:
    world = World(box({"a": 10}, {"gpu0": 100, "gpu1": 100}))
    world.submit(Load("a", "gpu0"))
    world.settle()
    lose_worker(world, "gpu0")
    world.submit(Load("a", "gpu1"))
    world.settle()

    assert world.residencies[-1].residents == (("a", "gpu1"),)
