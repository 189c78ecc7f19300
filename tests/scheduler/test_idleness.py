"""Models that leave for being idle, and idle ones that make way for other programs."""

from __future__ import annotations

from engine.api import Done
from engine.core.commands import Load, SetPin
from engine.core.devices import Reading
from engine.core.policy import Policy
from engine.core.records import Notice
from engine.core.sizes import MIB
from engine.core.state import leaves_at_s
from engine.scheduler.messages import DeviceRead, KeepAlive, WorkerUp
from tests.core.boxes import box, with_demand, with_resident, with_slab
from tests.scheduler.scripted_world import World


def idle_world(policy: Policy | None = None) -> World:
    """`a` came to gpu0 a moment ago, and rests in the RAM tier too; nothing runs on it."""
    state = with_slab(box({"a": 60, "b": 30}, {"gpu0": 100}), "a")
    world = World(state, policy)
    world.ask("a")
    world.settle()
    world.give_back(1)
    return world


def pass_seconds(world: World, seconds: float, external_mib: int = 0) -> None:
    """Second after second, each with its reading of gpu0."""
    for _ in range(int(seconds)):
        world.now_s += 1
        reading = Reading("ok", "", 0, external_mib * MIB)
        world.send(DeviceRead("gpu0", reading))
        world.settle()


def test_nothing_leaves_for_being_idle_unless_that_is_asked_for() -> None:
    world = idle_world()
    pass_seconds(world, 3600)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_model_leaves_once_it_has_been_idle_for_as_long_as_it_may_be_and_then_the_ram_tier() -> None:
    world = idle_world()
    world.send(KeepAlive("a", 60))
    pass_seconds(world, 58)
    assert world.where() == {"a": "gpu0 ready"}
    pass_seconds(world, 3)
    assert world.where() == {}
    assert "a was idle on gpu0 and leaves it" in notices(world)
    assert world.state.ram.find("a") is not None
    pass_seconds(world, 120)
    assert world.state.ram.find("a") is None, "after as long again"
    pass_seconds(world, 10)
    assert world.state.ram.find("a") is None, "it is not read ahead again"


def test_a_clock_that_is_set_back_keeps_nobody_longer() -> None:
    world = idle_world()
    world.send(KeepAlive("a", 60))
    pass_seconds(world, 30)
    world.set_back_s = 3600.0
    pass_seconds(world, 28)
    assert world.where() == {"a": "gpu0 ready"}
    pass_seconds(world, 3)
    assert world.where() == {}
    pass_seconds(world, 120)
    assert world.state.ram.find("a") is None


def test_a_clock_that_is_set_back_makes_no_victim_too_young() -> None:
    world = World(with_slab(box({"a": 60, "b": 60}, {"gpu0": 100}), "b"))
    world.submit(Load("a"))
    world.settle()
    pass_seconds(world, 30)
    world.set_back_s = 3600.0
    name = world.submit(Load("b", "gpu0"))
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert world.where() == {"b": "gpu0 ready"}


def test_more_than_a_century_is_for_ever() -> None:
    world = idle_world()
    world.send(KeepAlive("a", 60))
    world.send(KeepAlive("a", 1e300))
    assert leaves_at_s(world.state, world.state.residents[0]) is None


def test_a_request_begins_the_time_anew_and_none_leaves_while_something_runs() -> None:
    world = idle_world()
    world.send(KeepAlive("a", 60))
    pass_seconds(world, 50)
    lease = world.ask("a")
    pass_seconds(world, 500)
    assert world.where() == {"a": "gpu0 ready"}
    assert leaves_at_s(world.state, world.state.residents[0]) is None
    world.give_back(lease)
    pass_seconds(world, 55)
    assert world.where() == {"a": "gpu0 ready"}
    pass_seconds(world, 6)
    assert world.where() == {}


def test_keeping_it_for_no_time_has_it_leave_at_once_and_for_ever_keeps_it() -> None:
    world = idle_world()
    world.send(KeepAlive("a", 60))
    world.send(KeepAlive("a", None))
    pass_seconds(world, 600)
    assert world.where() == {"a": "gpu0 ready"}
    world.send(KeepAlive("a", 0))
    world.settle()
    assert world.where() == {}


def test_a_pin_wins() -> None:
    world = idle_world()
    world.submit(SetPin("a"))
    world.send(KeepAlive("a", 1))
    pass_seconds(world, 100)
    assert world.where() == {"a": "gpu0 ready"}


def test_idle_models_make_way_for_other_programs_the_cheapest_to_lose_first() -> None:
    world = crowded_world()
    pass_seconds(world, 2, external_mib=30)
    assert set(world.where()) == {"a", "b", "c"}, "it may pass"
    pass_seconds(world, 2, external_mib=30)
    assert set(world.where()) == {"a", "c"}
    assert "others have taken memory of gpu0; b, which is idle, leaves it" in notices(world)


def test_whoever_runs_or_is_pinned_stays_where_it_is_though_others_have_taken_the_memory() -> None:
    world = crowded_world()
    world.ask("a")
    world.submit(SetPin("b"))
    pass_seconds(world, 10, external_mib=90)
    assert set(world.where()) == {"a", "b"}


def test_nobody_makes_way_where_that_is_not_wanted() -> None:
    world = crowded_world(Policy(yield_to_others=False))
    pass_seconds(world, 10, external_mib=90)
    assert set(world.where()) == {"a", "b", "c"}


def crowded_world(policy: Policy | None = None) -> World:
    """Three models fill gpu0; `b` is the one that nobody asks for."""
    state = box({"a": 25, "b": 25, "c": 25}, {"gpu0": 100}, max_models=0)
    for model in ("a", "b", "c"):
        state = with_resident(state, model, "gpu0")
    for model in ("a", "c"):
        state = with_demand(state, model, 5.0)
    world = World(state, policy)
    world.send(WorkerUp("gpu0", 4711))
    return world


def notices(world: World) -> list[str]:
    return [entry.text for entry in world.written if isinstance(entry, Notice)]
