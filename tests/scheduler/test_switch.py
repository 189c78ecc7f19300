"""Requests whose model finds all places in use: how long they wait, what they take then, and how a model leaves the CPU again."""

from __future__ import annotations

from engine.core.policy import Policy
from engine.core.state import State
from engine.scheduler.board import Patience
from tests.core.boxes import box, with_demand, with_pin, with_resident
from tests.scheduler.scripted_world import World

PATIENCE = Patience(queue_s=30, in_use_s=20)
GPU_ONLY = Policy(cpu_fallback=False)


def one_gpu_with_a() -> State:
    return with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")


def test_a_request_waits_for_running_ones_before_its_model_goes_to_the_cpu() -> None:
    world = World(one_gpu_with_a(), patience=PATIENCE)
    world.ask("a")
    lease = world.ask("b")

    world.pass_time(19)
    assert world.where() == {"a": "gpu0 ready"}
    world.pass_time(2)
    world.settle()

    assert world.granted[lease] == "cpu"


def test_a_lease_that_ends_in_time_gives_the_gpu_to_the_one_that_waits() -> None:
    world = World(one_gpu_with_a(), patience=PATIENCE)
    running = world.ask("a")
    lease = world.ask("b")

    world.pass_time(10)
    world.give_back(running)
    world.settle()

    assert world.granted[lease] == "gpu0"


def test_without_a_cpu_steady_requests_for_one_model_do_not_starve_another() -> None:
    world = World(one_gpu_with_a(), GPU_ONLY, PATIENCE)
    running = world.ask("a")
    starving = world.ask("b")
    world.pass_time(21)
    world.open_slab("b")
    assert world.where() == {"a": "gpu0 draining", "b": "gpu0 pending"}

    late = world.ask("a")
    assert late not in world.granted
    world.give_back(running)
    world.settle()

    assert world.granted[starving] == "gpu0"
    world.give_back(starving)
    world.pass_time(3)
    world.settle()
    assert world.granted[late] == "gpu0"


def test_a_place_that_is_not_given_up_in_time_stays_with_its_model() -> None:
    world = World(one_gpu_with_a(), GPU_ONLY, PATIENCE)
    world.ask("a")
    starving = world.ask("b")

    world.pass_time(21)
    world.open_slab("b")
    late = world.ask("a")
    world.pass_time(61)

    assert "the leases of a did not end" in world.denied[starving]
    assert world.granted[late] == "gpu0"
    assert world.where() == {"a": "gpu0 ready"}


def test_a_model_that_fell_back_to_the_cpu_returns_with_the_next_request_when_there_is_room() -> None:
    world = World(with_resident(box({"a": 60}, {"gpu0": 100}), "a", "cpu"))

    first = world.ask("a")
    assert world.granted[first] == "cpu"
    world.give_back(first)
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    assert world.granted[world.ask("a")] == "gpu0"


def test_a_model_that_the_operator_sent_to_the_cpu_stays_there() -> None:
    world = World(with_pin(with_resident(box({"a": 60}, {"gpu0": 100}), "a", "cpu"), "a", "cpu"))

    world.give_back(world.ask("a"))
    world.settle()

    assert world.where() == {"a": "cpu ready"}


def test_a_model_on_the_cpu_pushes_nobody_out_who_is_wanted_more() -> None:
    state = with_demand(one_gpu_with_a(), "a", 50)
    world = World(with_resident(state, "b", "cpu"))

    world.give_back(world.ask("b"))
    world.settle()

    assert world.where() == {"a": "gpu0 ready", "b": "cpu ready"}
