"""Troubles that last: one cause is told once, and once more when it is over, with what it was."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.devices import DRIVER, Reading
from engine.core.names import DeviceId
from engine.core.records import Notice
from engine.scheduler.board import Patience
from engine.scheduler.effects import KillWorker
from engine.scheduler.messages import DeviceRead, SignOfLife, WorkerUp
from tests.core.boxes import box, with_resident
from tests.scheduler.scripted_world import World

CARDS: tuple[DeviceId, ...] = tuple(f"gpu{number}" for number in range(8))
WELL = Reading("ok", "", 0, 0, mono_s=0.0)
HANGS = Reading("stale", "the NVIDIA driver has not answered for 2 s", 0, 0, mono_s=0.0, cause=DRIVER)
LOST = Reading("lost", "it no longer answers the driver", mono_s=0.0)


def eight_cards() -> World:
    state = with_resident(box({"a": 40}, dict.fromkeys(CARDS, 100)), "a", "gpu0")
    cards = {d: replace(state.devices[d], spec=replace(state.devices[d].spec, backing="cuda:0")) for d in CARDS}
    world = World(replace(state, devices={**state.devices, **cards}), patience=Patience(not_answering_s=15.0))
    for number, device in enumerate(CARDS):
        world.send(WorkerUp(device, 4711 + number))
    read(world, WELL)
    return world


def read(world: World, reading: Reading, *devices: DeviceId) -> None:
    for device in devices or CARDS:
        world.send(DeviceRead(device, reading))


def notices(world: World) -> list[tuple[str, str, bool]]:
    return [(e.condition, e.text, e.over) for e in world.written if isinstance(e, Notice)]


def test_a_driver_that_hangs_is_told_once_for_all_its_cards_and_once_when_the_last_is_read_again() -> None:
    world = eight_cards()
    read(world, HANGS)
    world.pass_time(12)
    read(world, replace(HANGS, reason="the NVIDIA driver has not answered for 14 s"))
    read(world, WELL, *CARDS[:7])
    assert notices(world) == [(DRIVER, "no card can be read: the NVIDIA driver has not answered for 2 s", False)]
    read(world, WELL, "gpu7")
    assert notices(world)[1:] == [(DRIVER, "the cards can be read again; none could be for 12 s", True)]


def test_workers_that_hang_with_the_driver_and_die_of_it_are_of_the_same_cause() -> None:
    world = eight_cards()
    read(world, HANGS)
    for device in CARDS:
        for silent_s in (4.0, 16.0):
            world.send(SignOfLife(device, silent_s))
    assert sum(isinstance(effect, KillWorker) for effect in world.waiting) == 8
    world.settle()
    assert {condition for condition, _, _ in notices(world)} == {DRIVER}
    assert not any(over for _, _, over in notices(world))
    read(world, WELL)
    assert [over for _, _, over in notices(world)].count(True) == 1


def test_a_card_that_was_lost_before_the_driver_hung_has_a_trouble_of_its_own() -> None:
    world = eight_cards()
    read(world, LOST, "gpu3")
    read(world, HANGS)
    read(world, WELL, *(device for device in CARDS if device != "gpu3"))
    read(world, LOST, "gpu3")
    read(world, WELL, "gpu3")
    assert [(condition, over) for condition, _, over in notices(world)] == [
        ("gpu3", False),
        (DRIVER, False),
        (DRIVER, True),
        ("gpu3", True),
    ]


def test_a_card_that_is_found_lost_when_the_driver_answers_again_is_told_of_by_itself() -> None:
    world = eight_cards()
    read(world, HANGS)
    read(world, WELL, *CARDS[1:])
    read(world, LOST, "gpu0")
    assert [(condition, over) for condition, _, over in notices(world)] == [
        (DRIVER, False),
        (DRIVER, True),
        ("gpu0", False),
    ]


def test_deaths_of_a_worker_are_one_trouble_until_another_is_up() -> None:
    world = eight_cards()
    world.kill_worker("gpu0")
    world.pass_time(2)
    world.settle()
    ill, well = notices(world)
    assert ill == ("the worker of gpu0", "the worker of gpu0 was killed by SIGKILL; a will be loaded again", False)
    assert well == (
        "the worker of gpu0",
        "the worker of gpu0 was killed by SIGKILL; another one was up after 2 s; loading a again",
        True,
    )
