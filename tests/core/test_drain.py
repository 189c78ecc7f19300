"""Emptying a device, sentence by sentence, and what holds for any residency."""

from __future__ import annotations

from hypothesis import given, settings

from engine.core.commands import Evict, Move
from engine.core.devices import Reading
from engine.core.ledger import broken_invariants
from engine.core.names import CPU
from engine.core.plans import Refusal
from engine.core.policy import Policy
from engine.core.proposals import Drain, Pack, Proposal
from engine.core.proposing.drain import drained, packed
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_pin, with_reading, with_resident, with_slab
from tests.core.residencies import after_requests, over_budget, placement, residencies, states_of


def drain(state: State, device: str) -> Proposal | Refusal:
    return drained(Situation(state, Policy(), NOW_S), Drain(device))


def pack(state: State, device: str | None = None) -> Proposal | Refusal:
    return packed(Situation(state, Policy(), NOW_S), Pack(device))


def proposed(found: Proposal | Refusal) -> Proposal:
    assert isinstance(found, Proposal), found
    return found


def refused(found: Proposal | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


def test_what_fits_elsewhere_moves_and_the_rest_leaves() -> None:
    state = box({"a": 40, "b": 30, "other": 35})
    state = with_resident(with_resident(with_resident(state, "a", "gpu0"), "b", "gpu0"), "other", "gpu1")

    found = proposed(drain(after_requests(state, ["a", "b", "a"]), "gpu0"))

    assert found.command.title == "drain gpu0"
    assert found.command.commands == (Evict("b"), Move("a", "gpu1"))
    assert found.reasons[0].startswith("1 of 2 models find no room on other GPUs; losing them is expected to cost")


def test_a_model_that_nobody_asks_for_moves_too_when_there_is_room() -> None:
    assert proposed(drain(with_resident(box({"a": 40}), "a", "gpu0"), "gpu0")).command.commands == (Move("a", "gpu1"),)


def test_nobody_on_another_device_is_pushed_out() -> None:
    state = with_resident(with_resident(box({"busy": 60, "idle": 60}), "busy", "gpu0"), "idle", "gpu1")

    assert proposed(drain(after_requests(state, ["busy"]), "gpu0")).command.commands == (Evict("busy"),)


def test_a_pin_to_the_device_or_a_lease_there_is_in_the_way_and_is_named() -> None:
    state = with_pin(with_resident(box({"a": 40, "b": 20}), "a", "gpu0"), "a", "gpu0")

    refusal = refused(drain(with_resident(state, "b", "gpu0", leases=1), "gpu0"))

    assert refusal.reason == "gpu0 can't be emptied: a is pinned, b is leased"
    assert [(b.model, b.why) for b in refusal.blockers] == [("a", "pinned"), ("b", "leased")]
    assert refusal.advice == ("unpin a", "wait: b is leased")


def test_a_model_that_is_pinned_wherever_it_is_moves_but_never_leaves() -> None:
    state = with_resident(with_resident(box({"a": 40, "busy": 50}), "a", "gpu0"), "busy", "gpu0")
    state = after_requests(state, ["busy"])
    full = with_resident(with_pin(box({"a": 60, "other": 60}), "a"), "other", "gpu1")

    assert proposed(drain(state, "gpu0")).command.commands == (Evict("a"), Move("busy", "gpu1"))
    assert proposed(drain(with_pin(state, "a"), "gpu0")).command.commands == (Evict("busy"), Move("a", "gpu1"))
    assert refused(drain(with_resident(full, "a", "gpu0"), "gpu0")).advice == ("unpin a",)


def test_a_load_under_way_is_in_the_way() -> None:
    state = with_resident(box({"a": 40}), "a", "gpu0", stage="loading")

    assert refused(drain(state, "gpu0")).blockers[0].why == "loading"


def test_an_empty_device_says_so() -> None:
    found = proposed(drain(box({"a": 10}), "gpu0"))

    assert found.command.commands == ()
    assert found.reasons == ("gpu0 is empty already",)


def test_a_device_that_does_not_exist_is_refused_by_name() -> None:
    assert "gpu7" in refused(drain(box({"a": 10}), "gpu7")).reason
    assert "gpu7" in refused(pack(box({"a": 10}), "gpu7")).reason


def test_the_cpu_can_be_drained_to_the_gpus() -> None:
    assert proposed(drain(with_resident(box({"a": 40}), "a", CPU), CPU)).command.commands == (Move("a", "gpu0"),)


def test_packing_frees_the_device_whose_emptying_costs_least() -> None:
    state = with_resident(with_resident(box({"large": 50, "small": 20}), "large", "gpu0"), "small", "gpu1")
    state = with_slab(with_slab(state, "large"), "small")

    found = proposed(pack(state))

    assert found.command.title == "free gpu1"
    assert found.command.commands == (Move("small", "gpu0"),)
    assert proposed(pack(state, "gpu0")).command.commands == (Move("large", "gpu1"),)


def test_packing_does_nothing_when_a_device_is_free_already() -> None:
    assert proposed(pack(with_resident(box({"a": 50}), "a", "gpu0"))).reasons == ("gpu1 is empty already",)


def test_packing_is_refused_with_every_reason_when_no_device_can_be_freed() -> None:
    state = with_resident(with_resident(box({"a": 50, "b": 50}), "a", "gpu0", leases=1), "b", "gpu1", leases=1)

    refusal = refused(pack(state))

    assert refusal.reason == "gpu0 can't be emptied: a is leased; gpu1 can't be emptied: b is leased"
    assert refused(pack(box({"a": 10}, {}))).reason == "there is no healthy GPU"


def test_a_lost_device_is_not_what_packing_frees() -> None:
    state = with_reading(with_resident(box({"a": 50}), "a", "gpu0"), "gpu1", Reading("lost", "it does not answer"))

    assert proposed(pack(state)).command.commands == (Evict("a"),)


@given(residencies())
@settings(deadline=None)
def test_a_drain_leaves_the_device_empty_and_everybody_else_where_they_were(state: State) -> None:
    found = drain(state, "gpu0")
    if isinstance(found, Refusal):
        assert found.blockers
        assert found.advice
        return
    *_, end = state, *states_of(state, found.plan)

    assert not end.on("gpu0")
    elsewhere = {r.model for r in state.residents if r.device != "gpu0"}
    assert all(placement(end)[model] == placement(state)[model] - {"gpu0"} for model in elsewhere)


@given(residencies())
@settings(deadline=None)
def test_no_step_of_a_drain_overfills_a_device_or_drops_a_pinned_model(state: State) -> None:
    found = drain(state, "gpu0")
    if isinstance(found, Proposal):
        assert not found.plan.victims
        pinned = [gain for gain in found.gains if state.models[gain.model].pin]
        assert all(gain.target or state.beside(gain.model, "gpu0") for gain in pinned)
        for between in states_of(state, found.plan):
            assert not over_budget(between)
            assert not broken_invariants(between)


@given(residencies())
@settings(deadline=None)
def test_no_other_device_would_cost_less_to_free_than_the_one_that_packing_chose(state: State) -> None:
    found = pack(state)
    every = (pack(state, device) for device in state.devices if device != CPU)
    costs_s = [cost_s(each) for each in every if isinstance(each, Proposal)]

    assert isinstance(found, Proposal) is bool(costs_s)
    if isinstance(found, Proposal):
        assert cost_s(found) == min(costs_s)


def cost_s(found: Proposal) -> float:
    return sum(gain.cost_s - gain.gain_s for gain in found.gains)
