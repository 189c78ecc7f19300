"""Rebalancing, sentence by sentence, and what holds for any residency."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.commands import Evict, Load, Move
from engine.core.ledger import broken_invariants
from engine.core.names import CPU
from engine.core.policy import Balancing, Policy
from engine.core.proposals import Proposal, Rebalance
from engine.core.proposing.moves import exchanges
from engine.core.proposing.rebalance import rebalanced
from engine.core.state import Situation, State
from tests.core.boxes import NOW_S, box, with_pin, with_resident, with_slab
from tests.core.residencies import after_requests, over_budget, placement, residencies, states_of


def rebalancing(state: State, policy: Policy | None = None) -> Proposal:
    found = rebalanced(Situation(state, policy or Policy(), NOW_S), Rebalance())
    assert isinstance(found, Proposal), found
    return found


def crowded_box() -> State:
    """One GPU of 80 that holds `idle`, while `busy` is asked for again and again and is nowhere; `huge` fits nowhere."""
    state = with_resident(box({"idle": 60, "busy": 60, "huge": 300}, {"gpu0": 100}), "idle", "gpu0")
    return after_requests(with_slab(with_slab(state, "busy"), "idle"), ["idle", *["busy", "huge"] * 10])


def test_a_wanted_model_replaces_one_that_nobody_asks_for() -> None:
    assert rebalancing(crowded_box()).command.commands == (Evict("idle"), Load("busy", "gpu0"))


def test_what_is_proposed_says_what_it_gains_and_costs() -> None:
    found = rebalancing(crowded_box())

    assert {gain.model: gain.source for gain in found.gains} == {"idle": "gpu0", "busy": None}
    assert all(gain.why for gain in found.gains)
    assert found.reasons[0].startswith("saves ")
    assert found.reasons[1] == "no placement pays back more"


def test_nothing_is_proposed_that_does_not_pay_back() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}, max_models=9), "a", "gpu0")
    state = after_requests(with_slab(with_slab(state, "a"), "b"), ["a", "b"] * 50)

    found = rebalancing(state)

    assert found.command.commands == ()
    assert found.gains == ()
    gain_s, cost_s = re.findall(r"[0-9.]+(?= s)", found.reasons[0])
    assert found.reasons[0].startswith("nothing pays back: the best exchange would gain")
    assert 0 < float(gain_s) < float(cost_s)


def test_a_residency_that_is_best_already_is_left_alone() -> None:
    state = after_requests(with_resident(box({"a": 60, "b": 10}), "a", "gpu0"), ["a"])

    found = rebalancing(state)

    assert found.command.commands == ()
    assert found.reasons == ("every model is where it serves the present demand best",)


def test_a_model_that_nobody_has_asked_for_is_not_loaded_into_free_room() -> None:
    assert rebalancing(box({"a": 10})).command.commands == ()


def test_a_model_moves_when_that_makes_room_for_a_wanted_one() -> None:
    state = box({"a": 20, "b": 20, "wanted": 60}, {"gpu0": 100, "gpu1": 50})
    state = with_resident(with_resident(state, "a", "gpu0"), "b", "gpu0")
    state = after_requests(state, ["a", "b", "wanted"] * 5)

    found = rebalancing(state)

    assert [type(c) for c in found.command.commands] == [Move, Load]
    assert found.command.commands[-1] == Load("wanted", "gpu0")


def test_a_pinned_or_leased_model_is_left_where_it_is() -> None:
    state = crowded_box()
    leased = replace(state, residents=tuple(replace(r, leases=1) for r in state.residents))

    assert rebalancing(with_pin(state, "idle")).command.commands == ()
    assert rebalancing(leased).command.commands == ()


def test_a_model_that_fell_back_to_the_cpu_comes_back_into_free_room() -> None:
    state = after_requests(with_resident(box({"a": 60, "b": 10}), "a", CPU), ["a", "b", "a"])

    found = rebalancing(state)

    assert Move("a", "gpu1") in found.command.commands
    assert "comes back from the CPU" in next(gain.why for gain in found.gains if gain.model == "a")


def test_a_model_that_fell_back_to_the_cpu_pushes_nobody_out() -> None:
    state = with_resident(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "b", "gpu0"), "a", CPU)

    assert rebalancing(after_requests(state, ["b", "a", "b", "a", "a"])).command.commands == ()


def test_a_model_that_was_sent_to_the_cpu_stays_there() -> None:
    state = with_pin(with_resident(box({"a": 60}), "a", CPU), "a", CPU)

    assert rebalancing(after_requests(state, ["a"] * 3)).command.commands == ()


@pytest.mark.parametrize(("balancing", "device"), [("spread", "gpu1"), ("pack", "gpu0"), ("most_free", "gpu1")])
def test_the_balancing_chooses_among_devices_that_are_equally_good(balancing: Balancing, device: str) -> None:
    state = with_resident(box({"a": 20, "new": 20}), "a", "gpu0")

    found = rebalancing(after_requests(state, ["a", "new"]), Policy(balancing=balancing))

    assert found.command.commands == (Load("new", device),)


@given(residencies(), st.sampled_from(["spread", "pack", "most_free"]))
@settings(deadline=None)
def test_no_step_overfills_a_device_or_drops_what_is_not_named(state: State, balancing: Balancing) -> None:
    found = rebalancing(state, Policy(balancing=balancing))

    assert not found.plan.victims
    for between in states_of(state, found.plan):
        assert not over_budget(between)
        assert not broken_invariants(between)


@given(residencies())
@settings(deadline=None)
def test_every_exchange_gains_more_than_it_costs(state: State) -> None:
    assert all(exchange.gain_s > exchange.cost_s for exchange in exchanges(rebalancing(state).gains))


@given(residencies())
@settings(deadline=None)
def test_carried_out_it_leaves_every_model_where_it_was_said_to_be(state: State) -> None:
    found = rebalancing(state)
    *_, end = state, *states_of(state, found.plan)

    wanted = placement(state) | {gain.model: {gain.target} for gain in found.gains if gain.target}
    for gain in found.gains:
        if gain.target is None:
            del wanted[gain.model]
    assert placement(end) == wanted


@given(residencies())
@settings(deadline=None)
def test_pinned_and_leased_models_are_not_part_of_it(state: State) -> None:
    fixed = {r.model for r in state.residents if r.leases} | {m for m, known in state.models.items() if known.pin}

    assert fixed.isdisjoint(gain.model for gain in rebalancing(state).gains)


@given(residencies())
@settings(deadline=None)
def test_the_same_state_gets_the_same_proposal(state: State) -> None:
    assert rebalancing(state) == rebalancing(replace(state, residents=state.residents[::-1]))


@given(residencies())
@settings(deadline=None)
def test_with_all_weights_in_the_ram_tier_nothing_is_left_to_gain_once_it_is_carried_out(state: State) -> None:
    for model in state.models:
        state = state if state.ram.find(model) else with_slab(state, model)
    *_, end = state, *states_of(state, rebalancing(state).plan)

    assert rebalancing(end).command.commands == ()
