"""Residents that leave: a worker that never lets go of one is started again, and nothing waits for it for ever."""

from __future__ import annotations

from engine.api import Cancelled, Done
from engine.core.commands import Evict, Load
from engine.core.records import Notice, Switch
from engine.scheduler.effects import BindModel, KillWorker, ReleaseModel, WriteBackSlab
from tests.core.boxes import box, with_resident, with_slab
from tests.scheduler.scripted_world import World

TOOK_TOO_LONG = "releasing a from gpu0 took longer than 120 s and was given up; the worker of gpu0 is started again"


def hanging() -> World:
    """`b` is to come in the place of `a`, which the worker never lets go of; `c` is beside them."""
    state = box({"a": 60, "b": 60, "c": 10}, {"gpu0": 100}, max_models=3)
    for model in ("a", "c"):
        state = with_slab(with_resident(state, model, "gpu0"), model)
    world = World(with_slab(state, "b"))
    world.ask("c")
    world.submit(Load("b"))
    world.waiting.remove(world.expect(ReleaseModel))
    return world


def test_a_worker_that_never_releases_is_started_again_and_the_switch_goes_on() -> None:
    world = hanging()
    world.pass_time(119)
    assert not world.waiting
    world.pass_time(1)
    assert world.waiting == [KillWorker("gpu0")]
    world.pass_time(300)
    assert world.waiting == [KillWorker("gpu0")], "once is enough"

    world.settle()

    assert isinstance(world.answers["s2"], Done)
    assert world.where() == {"b": "gpu0 ready", "c": "gpu0 ready"}


def test_the_record_and_a_notice_say_why_the_switch_took_so_long() -> None:
    world = hanging()
    world.pass_time(120)
    world.settle()

    assert TOOK_TOO_LONG in [entry.text for entry in world.written if isinstance(entry, Notice)]
    [switch] = [entry for entry in world.written if isinstance(entry, Switch) and entry.id == "s2"]
    assert (switch.outcome, switch.reason) == ("done", TOOK_TOO_LONG)
    assert switch.phases.evict > 120


def test_a_release_that_hung_teaches_nothing_of_how_long_releases_take() -> None:
    world = hanging()
    world.pass_time(120)
    world.settle()
    assert not any(sample.seconds > 100 for sample in world.state.devices["gpu0"].evicting.samples)


def test_a_release_after_a_write_back_has_a_deadline_of_its_own() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    name = world.submit(Evict("a"))
    world.pass_time(100)
    world.perform(world.expect(WriteBackSlab))
    world.waiting.remove(world.expect(ReleaseModel))
    world.pass_time(119)
    assert not world.waiting
    world.pass_time(1)
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert world.where() == {}


def test_a_load_that_was_taken_back_has_ended_only_when_its_bytes_are_free() -> None:
    world = World(with_slab(box({"a": 60}), "a"))
    name = world.submit(Load("a"))
    world.withdraw(name)
    world.perform(world.expect(BindModel))
    assert not world.answers
    world.waiting.remove(world.expect(ReleaseModel))
    world.pass_time(120)
    world.settle()

    assert isinstance(world.answers[name], Cancelled)
    assert world.where() == {}
