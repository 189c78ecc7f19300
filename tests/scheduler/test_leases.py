"""Requests and the leases that they run under: each is granted once, ended once, or denied with a reason."""

from __future__ import annotations

from engine.api import Cancelled, Done, Failed
from engine.core.commands import Evict, Load
from engine.core.policy import Policy
from engine.core.records import Refused, Switch
from engine.scheduler.board import Patience
from engine.scheduler.effects import ReadSlab, StopReading
from tests.core.boxes import box, with_pin, with_resident, with_slab
from tests.scheduler.scripted_world import World


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


def test_an_eviction_that_a_command_takes_back_speaks_of_no_request() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    world.ask("a")
    evicts = world.submit(Evict("a"))

    world.submit(Load("a"))

    assert world.where() == {"a": "gpu0 ready"}
    assert world.answers[evicts] == Cancelled("a was wanted again while it was leaving; it stays on gpu0")


def test_an_eviction_whose_leases_never_end_gives_up_and_evicts_nothing() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"), patience=Patience(drain_s=60))
    world.ask("a")
    name = world.submit(Evict("a"))
    world.pass_time(61)

    assert isinstance(world.answers[name], Failed)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_lease_on_a_dead_worker_ends_once() -> None:
    world = World(with_resident(box({"a": 40}), "a", "gpu0"))
    lease = world.ask("a")
    world.kill_worker("gpu0")
    world.settle()
    world.give_back(lease)

    resident = world.state.find("a", "gpu0")
    assert resident is not None
    assert resident.leases == 0


def test_a_load_that_nobody_waits_for_any_more_is_given_up_before_anything_has_moved_for_it() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0", leases=1)
    world = World(state, Policy(cpu_fallback=False))
    leavers = [world.ask("b"), world.ask("b")]
    assert world.scheduler.is_waiting

    world.give_back(leavers[0])
    assert world.scheduler.is_waiting
    world.give_back(leavers[1])

    assert not world.scheduler.is_waiting
    assert world.where() == {"a": "gpu0 ready"}
    assert not world.denied


def test_a_victim_that_still_drains_stays_when_nobody_waits_for_the_newcomer_any_more() -> None:
    state = with_slab(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), "b")
    world = World(state, Policy(cpu_fallback=False))
    running, leaver = world.ask("a"), world.ask("b")
    world.pass_time(21)  # longer than running requests are waited for
    assert world.where() == {"a": "gpu0 draining", "b": "gpu0 pending"}

    world.give_back(leaver)
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}
    world.give_back(running)
    assert world.where() == {"a": "gpu0 ready"}


def test_weights_are_read_no_further_when_nobody_waits_for_the_newcomer_any_more() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0")
    world = World(state, Policy(cpu_fallback=False))
    leaver = world.ask("b")
    assert world.where() == {"a": "gpu0 ready"}, "it stays until b's weights come"
    assert world.find(ReadSlab) is not None

    world.give_back(leaver)

    assert world.find(StopReading) is not None
    world.settle()
    assert world.where() == {"a": "gpu0 ready"}
    assert not world.scheduler.is_waiting


def test_a_load_that_has_begun_goes_on_though_nobody_waits_for_it_any_more() -> None:
    world = World(box({"a": 60}))
    world.give_back(world.ask("a"))
    world.settle()

    assert world.where() == {"a": "gpu0 ready"}


def test_the_operators_load_goes_on_though_a_request_that_waited_for_the_same_model_left() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0", stage="loading")
    world = World(state, Policy(cpu_fallback=False))
    loading = world.submit(Load("b"), "config")
    world.give_back(world.ask("b"))

    assert loading not in world.answers
    assert [job.id for job in world.scheduler.jobs(0.0)] == [loading]
