"""The scheduler's behaviour, without a clock, a process or a sleep. Every state on the way satisfies the invariants:
the board refuses one that does not."""

from __future__ import annotations

import pytest

from engine.api import Cancelled, Changed, Declined, Done, Failed
from engine.core.commands import ForceCpu, Load, Move
from engine.core.policy import Policy
from engine.core.records import Switch
from engine.scheduler.board import Patience
from engine.scheduler.effects import BindModel, KillWorker, ReadSlab, ReleaseModel, StopReading
from engine.scheduler.messages import BindFailed
from tests.core.boxes import box, with_resident, with_slab
from tests.scheduler.scripted_world import World


def switch_of(world: World, name: str) -> Switch:
    answer = world.answers[name]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    return answer.switch


def test_a_load_reads_binds_and_ends_ready() -> None:
    world = World(box({"a": 40}))
    name = world.submit(Load("a"))
    assert world.where() == {"a": "gpu0 loading"}

    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    assert switch_of(world, name).tier == "disk"


def test_the_phases_of_a_switch_sum_to_its_total() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(with_slab(state, "a"))
    name = world.submit(Load("b"))
    world.open_slab("b")
    world.settle()

    switch = switch_of(world, name)
    phases = switch.phases

    assert phases.total_s == pytest.approx(switch.total_s)
    assert (phases.evict, phases.read) == pytest.approx((0.2, 0.0))  # it was read before its victim had left
    assert (phases.copy, phases.warm) == pytest.approx((0.06, 0.02))
    assert phases.bind == pytest.approx(0.02)


def test_a_load_waits_until_the_device_shows_the_victims_bytes_free() -> None:
    world = World(with_slab(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "a"))
    world.submit(Load("b"))
    world.open_slab("b")

    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    world.perform(world.expect(ReadSlab))
    assert world.where() == {"a": "gpu0 leaving", "b": "gpu0 pending"}
    assert world.find(BindModel) is None

    world.perform(world.expect(ReleaseModel))
    assert world.where() == {"b": "gpu0 loading"}


def test_loads_to_different_devices_run_side_by_side() -> None:
    world = World(box({"a": 60, "b": 60}))
    world.submit(Load("a"))
    world.submit(Load("b"))

    assert world.where() == {"a": "gpu0 loading", "b": "gpu1 loading"}


def test_a_second_load_of_the_same_model_does_not_load_it_twice() -> None:
    world = World(box({"a": 60}))
    first, second = world.submit(Load("a")), world.submit(Load("a"))
    world.settle()

    assert isinstance(world.answers[first], Done)
    assert isinstance(world.answers[second], Done)
    assert sum(isinstance(e, Switch) for e in world.written) == 1


def test_a_move_serves_from_the_old_place_until_the_new_one_is_ready() -> None:
    world = World(with_slab(with_resident(box({"a": 40}), "a", "gpu0"), "a"))
    world.submit(Move("a", "gpu1"))
    lease = world.ask("a")
    assert world.granted[lease] == "gpu0"

    world.settle()
    assert world.where() == {"a": "gpu0 draining, gpu1 ready"}
    world.give_back(lease)
    world.settle()

    assert world.where() == {"a": "gpu1 ready"}


def test_forcing_the_cpu_pins_only_once_the_model_is_there() -> None:
    world = World(with_resident(box({"a": 40}), "a", "gpu0"))
    world.submit(ForceCpu("a"))
    assert world.state.models["a"].pin is None

    world.settle()

    assert world.where() == {"a": "cpu ready"}
    pin = world.state.models["a"].pin
    assert pin is not None
    assert pin.device == "cpu"


def test_a_plan_that_is_no_longer_the_confirmed_one_is_not_carried_out() -> None:
    state = box({"a": 60, "b": 60, "c": 60}, {"gpu0": 100})
    world = World(with_resident(state, "a", "gpu0"))

    name = world.submit(Load("c"), confirmed="evict b from gpu0; load c on gpu0")

    answer = world.answers[name]
    assert isinstance(answer, Changed)
    assert answer.plan.effects == "evict a from gpu0; load c on gpu0"
    assert world.where() == {"a": "gpu0 ready"}


def test_an_operator_is_told_at_once_what_is_in_the_way() -> None:
    world = World(
        with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0", leases=1), Policy(cpu_fallback=False)
    )
    name = world.submit(Load("b"))

    answer = world.answers[name]
    assert isinstance(answer, Declined)
    assert answer.refusal.blockers[0].why == "leased"


def test_a_load_taken_back_while_it_reads_leaves_nothing_behind() -> None:
    world = World(box({"a": 60}))
    name = world.submit(Load("a"))
    world.withdraw(name)
    world.perform(world.expect(StopReading))

    assert isinstance(world.answers[name], Cancelled)
    assert world.where() == {}
    assert world.state.ram.slabs == ()


def test_a_load_taken_back_while_it_copies_lets_the_model_go_again() -> None:
    world = World(with_slab(box({"a": 60}), "a"))
    name = world.submit(Load("a"))
    world.withdraw(name)
    world.settle()

    assert isinstance(world.answers[name], Cancelled)
    assert world.where() == {}


def test_loading_again_right_after_taking_it_back_works() -> None:
    world = World(box({"a": 60}))
    world.withdraw(world.submit(Load("a")))
    again = world.submit(Load("a"))
    while world.waiting:
        stop = world.find(StopReading)
        world.perform(stop if stop is not None else world.waiting[0])

    assert isinstance(world.answers[again], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_failed_read_is_tried_again() -> None:
    world = World(box({"a": 60}), patience=Patience(retries=1))
    name = world.submit(Load("a"))
    world.fail_read("a", "the disk coughed")
    world.settle()

    assert isinstance(world.answers[name], Done)


def test_a_load_that_fails_for_good_brings_its_victims_back() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(with_slab(with_slab(state, "a"), "b"))
    name = world.submit(Load("b"))
    world.perform(world.expect(ReleaseModel))
    world.fail_bind("b", "layout.json is damaged")
    answer = world.answers[name]
    world.settle()

    assert isinstance(answer, Failed)
    assert "layout.json is damaged" in answer.reason
    assert world.where() == {"a": "gpu0 ready"}


def test_a_load_that_takes_too_long_costs_its_worker_and_is_tried_again() -> None:
    world = World(with_slab(box({"a": 60}), "a"), patience=Patience(load_s=120, retries=1))
    name = world.submit(Load("a"))
    stuck = world.expect(BindModel)
    world.pass_time(121)
    world.waiting.remove(stuck)
    world.perform(world.expect(KillWorker))
    world.settle()

    answer = world.answers[name]
    assert isinstance(answer, Done)
    assert answer.switch is not None
    assert answer.switch.reason == "loading a on gpu0 took longer than 120 s; the worker is started again"
    assert world.where() == {"a": "gpu0 ready"}


def test_a_move_survives_the_death_of_the_source() -> None:
    world = World(with_slab(with_resident(box({"a": 40}), "a", "gpu0"), "a"))
    name = world.submit(Move("a", "gpu1"))
    world.kill_worker("gpu0")
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert "gpu1 ready" in world.where()["a"]


def refuse_bind(world: World, model: str) -> None:
    effect = world.expect(BindModel, lambda e: e.model == model)
    world.waiting.remove(effect)
    world.send(BindFailed(model, effect.device, "no room", "out of memory: 60 MiB needed, 10 MiB free"))


def test_a_device_that_refuses_what_it_should_hold_leads_to_another_device_then_to_the_cpu() -> None:
    world = World(with_slab(box({"a": 60}), "a"))
    name = world.submit(Load("a"))
    refuse_bind(world, "a")
    assert world.where() == {"a": "gpu1 loading"}
    refuse_bind(world, "a")
    world.settle()

    assert world.where() == {"a": "cpu ready"}
    assert switch_of(world, name).plan.reasons[0].startswith("CPU fallback")


def test_a_device_that_refuses_gets_room_by_a_victim_when_there_is_no_other() -> None:
    world = World(with_slab(with_resident(box({"a": 60, "b": 70}, {"gpu0": 200}), "b", "gpu0"), "a"))
    world.submit(Load("a"))
    refuse_bind(world, "a")
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_a_load_that_no_device_takes_is_refused_with_figures_and_its_victims_come_back() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "b", "gpu0")
    world = World(with_slab(with_slab(state, "a"), "b"), Policy(cpu_fallback=False))
    name = world.submit(Load("a"))
    world.perform(world.expect(ReleaseModel))
    refuse_bind(world, "a")
    answer = world.answers[name]
    world.settle()

    assert isinstance(answer, Declined)
    assert "a needs 60 MiB" in answer.refusal.reason
    assert world.where() == {"b": "gpu0 ready"}
