"""A slab that rests in the RAM tier while its model is prepared anew: no layout is ever bound to bytes of another."""

from __future__ import annotations

from engine.api import Done, Failed
from engine.core.commands import Load, Move
from engine.core.names import CPU
from engine.scheduler.effects import BindModel, DropSlab, ReadSlab, ReleaseModel
from tests.core.boxes import box, with_resident, with_slab
from tests.scheduler.scripted_world import World


def refused() -> World:
    """A load of `a` from the RAM tier has found that the file is another one now."""
    world = World(with_slab(box({"a": 40}), "a"))
    world.submit(Load("a", "gpu0"))
    world.refuse_bind("a", "replaced", "/prepared/a was prepared anew since it was read")
    return world


def test_a_load_from_a_replaced_slab_reads_the_new_one_and_says_that_it_came_from_disk() -> None:
    world = refused()
    assert world.waiting == [DropSlab("a"), ReadSlab("a")]
    world.settle()

    answer = world.answers["s1"]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    assert answer.switch.tier == "disk"
    assert world.where() == {"a": "gpu0 ready"}


def moving_from_the_cpu() -> World:
    """A move of `a` from the CPU, on which a request runs, has found that the file is another one now."""
    world = World(with_resident(box({"a": 40}), "a", CPU))
    world.submit(Move("a", "gpu0"))
    lease = world.ask("a")
    assert world.granted == {lease: CPU}
    world.refuse_bind("a", "replaced", "/prepared/a was prepared anew since it was read")
    return world


def test_a_move_from_the_cpu_takes_the_model_off_the_replaced_slab_once_its_leases_have_ended() -> None:
    world = moving_from_the_cpu()
    assert world.where() == {"a": "cpu draining, gpu0 pending"}
    assert not world.waiting

    world.give_back(2)
    world.perform(world.expect(ReleaseModel))
    assert world.waiting == [DropSlab("a"), ReadSlab("a")]
    world.settle()

    assert isinstance(world.answers["s1"], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_requests_that_come_while_the_cpu_is_left_wait_for_the_move() -> None:
    world = moving_from_the_cpu()
    lease = world.ask("a")
    assert lease not in world.granted
    world.give_back(2)
    world.settle()
    assert world.granted[lease] == "gpu0"


def test_a_model_whose_leases_on_the_cpu_do_not_end_stays_there() -> None:
    world = moving_from_the_cpu()
    world.pass_time(61)
    answer = world.answers["s1"]
    assert isinstance(answer, Failed)
    assert answer.reason == "the leases of a did not end within 60 s; nothing was evicted"
    assert world.where() == {"a": "cpu ready"}
    assert not world.waiting


def test_a_move_that_fails_after_the_cpu_was_left_brings_the_model_back_to_it() -> None:
    world = moving_from_the_cpu()
    world.give_back(2)
    world.perform(world.expect(ReleaseModel))
    world.perform(world.expect(ReadSlab))
    world.fail_bind("a", "out of luck")
    world.settle()

    assert isinstance(world.answers["s1"], Failed)
    assert world.where() == {"a": "cpu ready"}


def test_a_device_that_finds_another_file_while_the_slab_is_still_read_leaves_the_reading_alone() -> None:
    world = World(box({"a": 40}))
    world.submit(Load("a", "gpu0"))
    world.open_slab("a")
    world.expect(BindModel)
    world.refuse_bind("a", "replaced", "/prepared/a was prepared anew since it was read")
    assert world.find(DropSlab) is None
    world.settle()
    assert world.where() == {"a": "gpu0 ready"}
