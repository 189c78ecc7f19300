"""Copies at work: requests go where they are answered first, and copies come back where they were."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.commands import Evict, Load, SetPin
from engine.core.devices import Reading
from engine.core.forecast.run_costs import ran
from engine.core.policy import Policy
from engine.core.records import Switch
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.messages import DeviceRead, KeepAlive, KeepQuiet, WorkerUp
from tests.core.boxes import box, with_reading, with_resident
from tests.scheduler.scripted_world import World

SIZES = {"a": 50, "b": 50, "tiny": 5}


def twice() -> State:
    return with_resident(with_resident(box(SIZES), "a", "gpu0"), "a", "gpu1")


def test_requests_take_turns_between_copies() -> None:
    world = World(twice())

    leases = [world.ask("a") for _ in range(4)]

    assert [world.granted[lease] for lease in leases] == ["gpu0", "gpu1", "gpu0", "gpu1"]


def test_a_request_goes_to_the_copy_that_has_the_least_work_before_it() -> None:
    world = World(twice())
    world.ask("a", work=64)

    leases = [world.ask("a", work=8) for _ in range(3)]

    assert [world.granted[lease] for lease in leases] == ["gpu1"] * 3


def test_other_models_runs_on_a_device_count_as_waiting_there() -> None:
    world = World(with_resident(twice(), "tiny", "gpu0"))
    world.ask("tiny", work=64)

    assert world.granted[world.ask("a")] == "gpu1"


def test_the_faster_device_gets_more_of_the_requests() -> None:
    state = box(SIZES)
    known = state.devices["gpu0"]
    slow = replace(known, spec=replace(known.spec, title="a slow card"))
    state = replace(state, devices={**state.devices, "gpu0": slow})
    for _ in range(8):
        state = ran(ran(state, "a", "gpu0", 10, 3.0), "a", "gpu1", 10, 1.0)
    world = World(with_resident(with_resident(state, "a", "gpu0"), "a", "gpu1"))

    places = [world.granted[world.ask("a", work=10)] for _ in range(8)]

    assert places.count("gpu1") == 6


def test_requests_keep_away_from_a_copy_whose_device_does_not_answer() -> None:
    silent = Reading("not answering", "its worker has not answered for 20 s")
    world = World(with_reading(twice(), "gpu0", silent))

    leases = [world.ask("a") for _ in range(3)]

    assert [world.granted[lease] for lease in leases] == ["gpu1"] * 3


def test_a_copy_drains_while_the_other_answers() -> None:
    world = World(twice())
    held = world.ask("a")
    world.submit(Evict("a", world.granted[held]))

    later = world.ask("a")

    assert world.granted[later] == "gpu1"
    assert world.where() == {"a": "gpu0 draining, gpu1 ready"}
    world.give_back(held)
    world.settle()
    assert world.where() == {"a": "gpu1 ready"}


def test_a_copy_of_a_dead_worker_comes_back_beside_the_other() -> None:
    world = World(twice())

    world.kill_worker("gpu1")
    world.settle()

    assert world.where() == {"a": "gpu0 ready, gpu1 ready"}


def test_both_copies_come_back_when_both_workers_die() -> None:
    world = World(twice())

    world.kill_worker("gpu1")
    world.kill_worker("gpu0")
    world.settle()

    assert sorted(world.where()["a"].split(", ")) == ["gpu0 ready", "gpu1 ready"]


def test_a_model_that_came_elsewhere_meanwhile_is_not_brought_back_as_a_copy() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"))

    world.kill_worker("gpu0")
    world.pass_time(6)  # longer than requests wait for a worker that comes up
    world.ask("a")
    while any(r.stage != "ready" for r in world.state.of("a")) or not world.state.of("a"):
        world.perform(next(e for e in reversed(world.waiting)))
    world.settle()

    assert world.where() == {"a": "gpu1 ready"}


def test_a_restart_brings_copies_back_on_each_device() -> None:
    world = World(box(SIZES))
    world.scheduler.expect_back([("a", "gpu0"), ("a", "gpu1")])

    world.kill_worker("gpu0")
    world.kill_worker("gpu1")
    world.settle()

    assert sorted(world.where()["a"].split(", ")) == ["gpu0 ready", "gpu1 ready"]


def test_a_victim_that_was_a_copy_comes_back_when_the_load_fails() -> None:
    world = World(twice(), Policy(min_residency_s=0.0))
    world.submit(Load("b", "gpu1"))
    while world.waiting and not any(r.model == "b" and r.stage == "loading" for r in world.state.residents):
        world.perform(world.waiting[0])

    world.fail_bind("b", "its weights make no sense")
    world.settle()

    assert world.where() == {"a": "gpu0 ready, gpu1 ready"}


def test_a_model_that_moves_is_noted_in_one_place() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"))
    held = world.ask("a")
    world.submit(Load("a", "gpu1"))
    world.settle()
    assert world.where() == {"a": "gpu0 draining, gpu1 ready"}

    world.give_back(held)

    noted = [kept.residents for kept in world.residencies]
    assert noted[-1] == (("a", "gpu1"),)
    assert all(len(residents) <= 1 for residents in noted)


# ── by itself ────────────────────────────────────────────────────────────────────────────────────


def busy(world: World, requests: int = 12) -> None:
    """Twice so many requests at once, each taking a second, all answered before this returns."""
    for _ in range(2):  # of the first ones it is not known yet how long they take
        for lease in [world.ask("a") for _ in range(requests)]:
            world.now_s += 1.0
            world.give_back(lease, 1.0)


def test_a_queue_brings_one_more_copy_into_free_room() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"))
    busy(world)

    world.ask("a")
    world.settle()

    assert world.where() == {"a": "gpu0 ready, gpu1 ready"}
    [switch] = [entry for entry in world.written if isinstance(entry, Switch)]
    assert switch.origin == "queue"
    assert switch.plan.reasons[0].startswith("requests wait ")


def test_requests_that_come_one_by_one_bring_no_copy() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"))
    for _ in range(12):
        busy(world, requests=1)
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


@pytest.mark.parametrize("policy", [Policy(copies=False), Policy(dynamic_loading=False)])
def test_no_copy_comes_by_itself_where_the_policy_forbids_it(policy: Policy) -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"), policy)
    busy(world)

    world.ask("a")
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_no_copy_comes_while_somebody_measures() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"))
    world.send(KeepQuiet(60.0))
    busy(world)

    world.ask("a")
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_a_copy_leaves_for_a_model_that_is_asked_for() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"), Policy(min_residency_s=0.0))
    busy(world)
    first = world.ask("a")
    world.settle()
    world.give_back(first, 1.0)
    assert world.where() == {"a": "gpu0 ready, gpu1 ready"}
    for _ in range(40):
        world.give_back(world.ask("tiny"))
        world.settle()

    lease = world.ask("b")
    world.settle()

    assert lease in world.granted
    assert "b" in world.where()
    assert "a" in world.where()


# ── leaving by themselves ────────────────────────────────────────────────────────────────────────


def test_where_others_take_memory_a_copy_makes_way_before_a_model_that_is_nowhere_else() -> None:
    world = World(with_resident(with_resident(box({"a": 30, "b": 30}), "b", "gpu0"), "a", "gpu0"))
    world.submit(Load("a", "gpu1", also=True))
    world.settle()
    world.submit(SetPin("a", "gpu1"))
    world.send(WorkerUp("gpu0", 4711))

    for _ in range(6):
        world.now_s += 1
        world.send(DeviceRead("gpu0", Reading("ok", "", 0, 60 * MIB)))
        world.settle()

    assert world.where() == {"b": "gpu0 ready", "a": "gpu1 ready"}


def test_of_a_pinned_model_the_copy_that_is_not_held_leaves_once_it_has_been_idle() -> None:
    world = World(box({"a": 30}))
    for command in (Load("a", "gpu0"), Load("a", "gpu1", also=True), SetPin("a", "gpu0")):
        world.submit(command)
        world.settle()
    world.send(KeepAlive("a", 60))

    for _ in range(62):
        world.now_s += 1
        world.send(DeviceRead("gpu1", Reading("ok", "", 0, 0)))
        world.settle()

    assert world.where() == {"a": "gpu0 ready"}
