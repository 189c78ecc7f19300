"""Slabs are checked while nothing is under way, and nobody goes on with the bytes of a damaged one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.api import Done
from engine.core.commands import Evict, Load
from engine.core.models import Pin
from engine.core.names import CPU, DeviceId
from engine.core.records import Notice
from engine.core.state import State
from engine.scheduler.effects import BindModel, DropSlab, InvalidateSlab, ReadSlab, ReleaseModel, WriteBackSlab
from engine.scheduler.integrity import QUIET_S
from engine.scheduler.messages import SlabFailed, SlabRead, Tick
from tests.core.boxes import box, with_demand, with_pin, with_resident, with_slab
from tests.scheduler.scripted_world import World


def checking(state: State) -> World:
    """Nothing is under way, and the first slab is being checked."""
    world = World(state)
    world.send(Tick())
    assert world.checking is not None
    return world


def resting() -> State:
    """`a` and `b` rest in the RAM tier."""
    return with_slab(with_slab(box({"a": 40, "b": 40}), "a"), "b")


def on(device: DeviceId) -> State:
    """`a` is ready there, and its slab in the RAM tier."""
    return replace(with_resident(box({"a": 40}), "a", device), ram=with_slab(box({"a": 40}), "a").ram)


def notices(world: World) -> list[str]:
    return [entry.text for entry in world.written if isinstance(entry, Notice)]


def tier(world: World) -> dict[str, str]:
    return {slab.model: slab.stage for slab in world.state.ram.slabs}


def test_every_slab_is_checked_once() -> None:
    world = checking(resting())
    assert world.checking == "a"
    world.end_check("whole")
    assert world.checking == "b"
    world.end_check("whole")

    world.send(Tick())
    world.submit(Load("a"))
    world.settle()
    assert world.checking is None
    assert notices(world) == []


def test_a_command_stops_the_check_which_begins_again_when_it_has_been_quiet() -> None:
    world = checking(resting())
    world.submit(Load("b"))
    assert world.check_is_stopped
    world.end_check("stopped")
    world.settle()
    assert world.checking is None

    world.pass_time(QUIET_S)
    assert world.checking == "a"


def test_what_a_check_finds_while_a_command_is_under_way_is_looked_at_again() -> None:
    world = checking(with_slab(box({"a": 40}), "a"))
    world.submit(Load("a"))
    world.end_check("damaged")
    assert tier(world) == {"a": "kept"}
    assert notices(world) == []

    world.settle()
    world.pass_time(QUIET_S)
    assert world.checking == "a"


def test_reading_ahead_comes_before_checking() -> None:
    world = World(with_demand(with_slab(box({"a": 40, "b": 40}), "a"), "b", 5.0))
    world.send(Tick())
    world.expect(ReadSlab)
    assert world.checking is None

    world.settle()
    world.pass_time(QUIET_S)
    assert world.checking == "a"


def test_a_slab_that_was_dropped_meanwhile_is_not_spoken_of() -> None:
    world = checking(resting())
    world.send(SlabFailed("a", "stopped", "its reading was taken back"))
    world.end_check("damaged")

    assert notices(world) == []
    assert world.state.models["a"].prepared


def test_a_damaged_slab_leaves_the_ram_tier_and_is_never_read_again() -> None:
    world = checking(resting())
    world.end_check("damaged")

    assert tier(world) == {"b": "kept"}
    assert world.waiting == [InvalidateSlab("a"), DropSlab("a")]
    assert not world.state.models["a"].prepared
    assert notices(world) == [
        "/prepared/a/slab.safetensors is damaged: its bytes are not those that were prepared. Its copy in the RAM tier is"
        " dropped. The next load prepares a anew, or `citadel prepare a --check` does it now"
    ]


def test_a_slab_that_was_prepared_anew_is_checked_again() -> None:
    world = checking(with_slab(box({"a": 40}), "a"))
    world.end_check("whole")
    world.send(SlabRead("a", "disk", 40 << 20))
    assert world.checking is None

    world.send(SlabRead("a", "source", 40 << 20))
    assert world.checking == "a"


def test_bytes_that_changed_in_memory_alone_are_read_from_the_file_again() -> None:
    world = checking(resting())
    world.end_check("altered")

    assert tier(world) == {"b": "kept"}
    assert world.waiting == [DropSlab("a")]
    assert world.state.models["a"].prepared
    assert "the copy of a in the RAM tier is not what /prepared/a/slab.safetensors holds" in notices(world)[0]


@pytest.mark.parametrize("device", ["gpu0", CPU])
def test_who_runs_on_damaged_bytes_is_taken_off_and_the_bytes_go_after_it(device: str) -> None:
    world = checking(on(device))
    world.end_check("damaged")
    assert world.where() == {"a": f"{device} leaving"}
    assert tier(world) == {"a": "damaged"}
    assert world.find(DropSlab) is None
    assert f"a is taken off {device}; what it answered there may be wrong" in notices(world)[0]

    world.perform(world.expect(ReleaseModel))
    assert world.where() == {}
    assert world.find(WriteBackSlab) is None
    world.expect(DropSlab)
    assert tier(world) == {}


def test_running_requests_end_on_it_and_later_ones_wait_for_it_to_come_anew() -> None:
    world = World(on("gpu0"))
    running = world.ask("a")
    world.end_check("damaged")
    assert world.where() == {"a": "gpu0 draining"}

    waiting = world.ask("a")
    assert waiting not in world.granted
    world.give_back(running)
    world.settle()

    assert waiting in world.granted
    assert tier(world) == {"a": "kept"}
    assert world.state.models["a"].prepared


def test_a_load_of_a_model_whose_damaged_slab_still_serves_does_not_copy_from_it() -> None:
    world = World(with_pin(on(CPU), "a"))
    running = world.ask("a")
    world.end_check("damaged")
    name = world.submit(Load("a", "gpu0"))
    assert world.find(BindModel) is None

    world.give_back(running)
    world.perform(world.expect(ReleaseModel))
    world.expect(DropSlab)
    world.expect(ReadSlab)
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_request_that_does_not_end_only_delays_it() -> None:
    world = World(on("gpu0"))
    running = world.ask("a")
    world.end_check("damaged")
    world.pass_time(61)
    world.pass_time(1)
    assert world.where() == {"a": "gpu0 draining"}

    world.give_back(running)
    world.settle()
    assert world.where() == {}


def test_a_pin_does_not_hold_a_model_on_damaged_bytes() -> None:
    world = checking(with_pin(on("gpu0"), "a"))
    world.end_check("damaged")
    world.settle()

    assert world.where() == {}


@pytest.mark.parametrize("device", [None, "gpu1"])
def test_a_model_that_was_taken_off_damaged_bytes_is_still_pinned_when_it_comes_anew(device: str | None) -> None:
    world = checking(with_pin(on("gpu1"), "a", device))
    world.end_check("damaged")
    world.settle()
    assert world.state.models["a"].pin == Pin(device)

    world.ask("a")
    world.settle()
    assert world.state.models["a"].pin == Pin(device)
    assert len(world.where()) == 1


def test_a_slab_whose_file_was_prepared_anew_goes_without_a_word_of_damage() -> None:
    world = checking(resting())
    world.end_check("replaced")
    assert tier(world) == {"b": "kept"}
    assert world.waiting == [DropSlab("a")]
    assert notices(world) == []
    assert world.state.models["a"].prepared


def test_a_slab_whose_file_was_prepared_anew_stays_as_long_as_the_cpu_runs_from_it() -> None:
    world = checking(on(CPU))
    world.end_check("replaced")
    assert tier(world) == {"a": "kept"}
    assert world.where() == {"a": "cpu ready"}
    world.pass_time(QUIET_S)
    assert world.checking is None


def test_a_worker_that_dies_with_damaged_bytes_has_its_model_prepared_anew() -> None:
    world = World(on("gpu0"))
    world.ask("a")
    world.end_check("damaged")
    world.kill_worker("gpu0")
    assert tier(world) == {}

    world.settle()
    assert world.state.models["a"].prepared


def test_an_evicted_model_whose_slab_is_damaged_is_not_evicted_twice() -> None:
    world = checking(on("gpu0"))
    world.end_check("damaged")
    name = world.submit(Evict("a"))
    world.settle()

    assert world.where() == {}
    assert isinstance(world.answers[name], Done)
