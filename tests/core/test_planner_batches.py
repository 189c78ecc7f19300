"""Several commands as one plan: what each leaves is what the next is planned on."""

from __future__ import annotations

from engine.core.commands import Batch, Evict, Load, Move, SetPin, Single
from engine.core.ledger import broken_invariants
from engine.core.planning.planner import after, plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_pin, with_resident

SIZES = {"a": 50, "b": 50, "c": 50, "tiny": 5}


def planned(state: State, *commands: Single) -> Plan | Refusal:
    return plan(state, Batch("several", commands), Policy(min_residency_s=0.0), NOW_S)


def effects(state: State, *commands: Single) -> str:
    found = planned(state, *commands)
    assert isinstance(found, Plan), found
    return found.effects


def test_an_eviction_makes_room_for_the_load_behind_it() -> None:
    state = with_pin(with_resident(box(SIZES, {"gpu0": 100}), "a", "gpu0"), "b")

    assert effects(state, Evict("a"), Load("b", "gpu0")) == "evict a from gpu0; load b on gpu0"


def test_two_models_that_change_places_do_it_by_way_of_memory() -> None:
    state = with_resident(with_resident(box(SIZES), "a", "gpu0"), "b", "gpu1")

    assert effects(state, Evict("a"), Move("b", "gpu0"), Load("a", "gpu1")) == (
        "evict a from gpu0; load b on gpu0; evict b from gpu1; load a on gpu1"
    )


def test_loads_of_one_batch_go_to_different_devices_when_one_is_full_after_the_first() -> None:
    assert effects(box(SIZES), Load("a"), Load("b")) == "load a on gpu0; load b on gpu1"


def test_a_batch_whose_models_would_push_each_other_out_is_refused_as_a_whole() -> None:
    found = planned(box(SIZES), Load("a"), Load("b"), Load("c"))

    assert isinstance(found, Refusal)
    assert found.reason == "load c: a would have to leave again; they don't fit together"


def test_a_refused_part_refuses_the_batch_and_says_which_part() -> None:
    state = with_pin(with_resident(box(SIZES, {"gpu0": 100}, cpu=1), "a", "gpu0"), "a")

    found = planned(state, SetPin("tiny"), Load("b", "gpu0"))

    assert isinstance(found, Refusal)
    assert found.reason.startswith("load b on gpu0: ")
    assert [b.model for b in found.blockers] == ["a"]


def test_a_batch_is_always_shown_before_it_is_done_unless_it_does_nothing() -> None:
    something, nothing = planned(box(SIZES), SetPin("a")), planned(box(SIZES), Evict("a"))

    assert isinstance(something, Plan)
    assert isinstance(nothing, Plan)
    assert something.has_side_effects
    assert not nothing.has_side_effects


def test_the_state_after_a_plan_breaks_no_invariant() -> None:
    state = with_resident(with_resident(box(SIZES), "a", "gpu0", leases=1), "b", "gpu1")
    found = planned(state, Evict("a"), Move("b", "gpu0"), Load("a", "cpu"))
    assert isinstance(found, Plan)

    done = after(state, found.steps, NOW_S)

    assert {(r.model, r.device) for r in done.residents} == {("b", "gpu0"), ("a", "cpu")}
    assert broken_invariants(done) == []
