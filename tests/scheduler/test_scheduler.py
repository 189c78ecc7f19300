"""The scheduler's behaviour, without a clock, a process or a sleep. Every state on the way satisfies the invariants:
the board refuses one that does not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.api import Cancelled, Changed, Declined, Done, Failed
from engine.core.commands import Evict, ForceCpu, Load, Move, SetPin, Submission
from engine.core.devices import Reading
from engine.core.ledger import budget
from engine.core.policy import Policy
from engine.core.records import Notice, Refused, Residency, Switch
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.board import Patience
from engine.scheduler.commands import REMEMBERED_ANSWERS
from engine.scheduler.effects import BindModel, KillWorker, ReadSlab, ReleaseModel, StartWorker, StopReading
from engine.scheduler.messages import BindFailed, DeviceRead, ModelReleased, Submit
from tests.core.boxes import box, with_demand, with_pin, with_resident, with_slab
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


def test_a_resend_of_the_same_id_does_nothing_twice_and_gets_the_same_answer() -> None:
    world = World(box({"a": 60}))
    world.send(Submit(Submission("same", Load("a"))))
    world.send(Submit(Submission("same", Load("a"))))
    world.settle()
    answer = world.answers.pop("same")

    world.send(Submit(Submission("same", Load("a"))))

    assert world.answers["same"] is answer
    assert sum(isinstance(e, Switch) for e in world.written) == 1


def test_only_the_newest_answers_are_remembered() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    for number in range(REMEMBERED_ANSWERS + 1):
        world.send(Submit(Submission(str(number), Load("a"))))
    kept, forgotten = world.answers.pop("1"), world.answers.pop("0")

    world.send(Submit(Submission("1", Load("a"))))
    world.send(Submit(Submission("0", Load("a"))))

    assert world.answers["1"] is kept
    assert world.answers["0"] is not forgotten


def test_requests_for_the_same_model_join_the_load_under_way() -> None:
    world = World(box({"a": 60}))
    leases = [world.ask("a") for _ in range(3)]
    assert not world.granted

    world.settle()

    assert world.granted == dict.fromkeys(leases, "gpu0")
    assert sum(isinstance(e, Switch) for e in world.written) == 1
    resident = world.state.find("a", "gpu0")
    assert resident is not None
    assert resident.leases == 3


def test_a_resident_model_never_waits_for_anothers_load() -> None:
    world = World(with_resident(box({"a": 20, "b": 20}), "a", "gpu0"))
    world.submit(Load("b", "gpu0"))

    lease = world.ask("a")

    assert world.granted == {lease: "gpu0"}


def test_a_generating_model_is_not_evicted_and_the_request_waits_for_its_lease() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(state, Policy(cpu_fallback=False))
    running = world.ask("a")
    waiting = world.ask("b")
    assert world.where() == {"a": "gpu0 ready"}

    world.give_back(running)
    world.settle()

    assert world.where() == {"b": "gpu0 ready"}
    assert waiting in world.granted


def test_a_request_that_waits_too_long_is_told_what_was_in_the_way() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0", stage="loading")
    world = World(state, Policy(cpu_fallback=False), Patience(queue_s=30))
    lease = world.ask("b")

    world.pass_time(29)
    assert lease not in world.denied
    world.pass_time(2)

    assert "b needs 60 MiB" in world.denied[lease]
    assert any(isinstance(e, Refused) for e in world.written)


def test_overflow_goes_to_the_cpu_with_the_reason_recorded() -> None:
    state = with_pin(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "a")
    world = World(state)
    lease = world.ask("b")
    world.settle()

    assert world.granted[lease] == "cpu"
    switch = next(e for e in world.written if isinstance(e, Switch))
    assert switch.plan.reasons[0].startswith("CPU fallback")


def test_without_dynamic_loading_a_request_loads_nothing() -> None:
    world = World(box({"a": 60}), Policy(dynamic_loading=False))
    lease = world.ask("a")

    assert "DYNAMIC_LOADING_ENABLED" in world.denied[lease]
    assert world.where() == {}


def test_evicting_waits_for_the_lease_to_end() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    lease = world.ask("a")
    name = world.submit(Evict("a"))
    assert world.where() == {"a": "gpu0 draining"}

    world.give_back(lease)
    world.settle()

    assert world.where() == {}
    assert isinstance(world.answers[name], Done)


def test_a_request_rescues_a_model_that_is_on_its_way_out() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    world.ask("a")
    name = world.submit(Evict("a"))

    lease = world.ask("a")

    assert world.granted[lease] == "gpu0"
    assert world.where() == {"a": "gpu0 ready"}
    answer = world.answers[name]
    assert isinstance(answer, Cancelled)
    assert "it stays on gpu0" in answer.reason


def test_an_eviction_whose_leases_never_end_gives_up_and_evicts_nothing() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"), patience=Patience(drain_s=60))
    world.ask("a")
    name = world.submit(Evict("a"))
    world.pass_time(61)

    assert isinstance(world.answers[name], Failed)
    assert world.where() == {"a": "gpu0 ready"}


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


def test_a_dead_worker_loses_its_own_residents_only_and_they_come_back() -> None:
    state = with_resident(with_resident(box({"a": 40, "b": 40}), "a", "gpu0"), "b", "gpu1")
    world = World(state)
    world.kill_worker("gpu0")
    assert world.where() == {"b": "gpu1 ready"}
    assert world.state.devices["gpu0"].reading.health == "starting"

    world.settle()

    assert world.where() == {"a": "gpu0 ready", "b": "gpu1 ready"}
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices[0] == "the worker of gpu0 was killed by SIGKILL; a will be loaded again"


def test_a_lease_on_a_dead_worker_ends_once() -> None:
    world = World(with_resident(box({"a": 40}), "a", "gpu0"))
    lease = world.ask("a")
    world.kill_worker("gpu0")
    world.settle()
    world.give_back(lease)

    resident = world.state.find("a", "gpu0")
    assert resident is not None
    assert resident.leases == 0


def test_a_worker_that_keeps_dying_is_started_ever_later_and_its_models_stay_away() -> None:
    world = World(with_resident(box({"a": 40}), "a", "gpu0"))
    delays = []
    for _ in range(4):
        world.kill_worker("gpu0")
        delays.append(world.expect(StartWorker).after_s)
        world.settle()

    assert delays == [0.0, 1.0, 2.0, 4.0]
    assert world.where() == {}


def test_a_move_survives_the_death_of_the_source() -> None:
    world = World(with_slab(with_resident(box({"a": 40}), "a", "gpu0"), "a"))
    name = world.submit(Move("a", "gpu1"))
    world.kill_worker("gpu0")
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert "gpu1 ready" in world.where()["a"]


def test_the_ram_tier_lets_copies_of_gpu_residents_go_first() -> None:
    state = box({"resting": 10, "on-gpu": 10, "new": 10}, max_models=2)
    state = with_slab(with_slab(with_resident(state, "on-gpu", "gpu0"), "resting"), "on-gpu")
    world = World(with_demand(state, "on-gpu", 100))
    world.submit(Load("new"))
    world.settle()

    assert {s.model for s in world.state.ram.slabs} == {"resting", "new"}


def test_with_an_empty_ram_tier_models_still_load() -> None:
    world = World(box({"a": 10}, max_models=0))
    name = world.submit(Load("a"))
    world.settle()

    assert isinstance(world.answers[name], Done)
    assert world.state.ram.slabs == ()


def test_residency_is_written_when_it_changes_and_not_while_a_dead_workers_models_are_away() -> None:
    world = World(box({"a": 10}))
    world.submit(Load("a"))
    world.settle()
    world.submit(SetPin("a"))
    world.kill_worker("gpu0")
    world.settle()

    written = [(e.residents, e.pins) for e in world.written if isinstance(e, Residency)]
    assert written == [((("a", "gpu0"),), {}), ((("a", "gpu0"),), {"a": None})]


def test_what_was_resident_before_a_restart_is_loaded_when_its_device_is_up() -> None:
    world = World(box({"a": 10, "b": 10}))
    world.scheduler.expect_back([("a", "gpu1"), ("b", "cpu"), ("gone", "gpu0")])
    for device in ("gpu0", "gpu1", "cpu"):
        world.waiting.append(StartWorker(device))
    world.settle()

    assert world.where() == {"a": "gpu1 ready", "b": "cpu ready"}


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


def card_box() -> State:
    """Two models and one NVIDIA card of 100 MiB."""
    state = box({"a": 30, "b": 30}, {"gpu0": 100})
    spec = replace(state.devices["gpu0"].spec, backing="cuda:0")
    known = replace(state.devices["gpu0"], spec=spec, worker_pid=4711)
    return replace(state, devices={**state.devices, "gpu0": known})


def test_nothing_is_placed_on_a_lost_card_and_its_return_needs_no_restart() -> None:
    world = World(card_box(), Policy(cpu_fallback=False))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    world.send(DeviceRead("gpu0", Reading("lost", "GPU 0 fell off the bus")))
    refused = world.submit(Load("a"))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    accepted = world.submit(Load("a"))
    world.settle()

    assert isinstance(world.answers[refused], Declined)
    assert isinstance(world.answers[accepted], Done)
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices == ["gpu0 is lost: GPU 0 fell off the bus", "gpu0 answers again"]


def test_a_context_narrows_the_budget_and_is_given_back_when_it_has_been_idle_for_a_minute() -> None:
    world = World(card_box())
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    world.submit(Load("a"))
    world.settle()
    world.submit(Evict("a"))
    release = world.expect(ReleaseModel)
    world.waiting.remove(release)
    world.send(ModelReleased("a", "gpu0", leaked_bytes=0, used_bytes=40 * MIB, context_bytes=40 * MIB))
    assert budget(world.state, "gpu0") == 60 * MIB

    for _ in range(3):
        world.pass_time(31)
        world.send(DeviceRead("gpu0", Reading("ok", "", 40 * MIB, 0)))
    world.settle()

    assert budget(world.state, "gpu0") == 80 * MIB
    assert not any(isinstance(e, Notice) and e.level == "error" for e in world.written)


def test_a_card_that_cannot_run_models_is_said_to_be_unsupported_and_the_model_goes_elsewhere() -> None:
    world = World(with_slab(card_box(), "a"))
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))
    name = world.submit(Load("a"))
    effect = world.expect(BindModel)
    world.waiting.remove(effect)
    world.send(BindFailed("a", "gpu0", "unusable", "torch was not built for this card"))
    world.settle()
    world.send(DeviceRead("gpu0", Reading("ok", "", 0, 0)))

    assert isinstance(world.answers[name], Done)
    assert world.where() == {"a": "cpu ready"}
    reading = world.state.devices["gpu0"].reading
    assert (reading.health, reading.reason) == ("unsupported", "torch was not built for this card")
    notices = [e.text for e in world.written if isinstance(e, Notice)]
    assert notices == ["gpu0 is unsupported: torch was not built for this card"]
