"""Undo: what was before the operator's last change comes back, and what has happened since is left alone."""

from __future__ import annotations

from engine.core.commands import Command, Evict, ForceCpu, Load, Move, Origin, SetPin, Submission
from engine.core.models import Pin
from engine.core.names import CPU
from engine.core.planning.planner import after, plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.proposals import Proposal, Undo
from engine.core.proposing.propose import propose
from engine.core.proposing.undo import KEPT_CHANGES, remembered
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_pin, with_resident

SIZES = {"a": 50, "b": 50, "tiny": 5}
OPERATOR = Policy(min_residency_s=0.0)


def after_command(state: State, command: Command, origin: Origin = "operator") -> State:
    """`state` once `command` has been carried out."""
    found = plan(state, command, OPERATOR, NOW_S)
    assert isinstance(found, Plan), found
    submission = Submission(f"{origin} {len(state.changes)} {command!r}", command, origin)
    return remembered(after(state, found.steps, NOW_S), submission, found, NOW_S)


def undoing(state: State) -> Proposal:
    found = propose(state, Undo(), OPERATOR, NOW_S)
    assert isinstance(found, Proposal), found
    return found


def arrangement(state: State) -> tuple[set[tuple[str, str]], dict[str, Pin]]:
    return {(r.model, r.device) for r in state.residents}, {n: m.pin for n, m in state.models.items() if m.pin}


def test_undoing_a_load_brings_its_victim_back() -> None:
    before = with_resident(box(SIZES, {"gpu0": 100}), "a", "gpu0")

    back = undoing(after_command(before, Load("b", "gpu0")))

    assert back.command.title == "undo: load b on gpu0"
    assert back.plan.effects == "evict b from gpu0; load a on gpu0"


def test_undoing_an_eviction_brings_the_pin_back_too() -> None:
    before = with_pin(with_resident(box(SIZES), "a", "gpu1"), "a", "gpu1")

    assert undoing(after_command(before, Evict("a"))).plan.effects == "load a on gpu1; pin a on gpu1"


def test_undoing_force_cpu_moves_the_model_back_and_unpins_it() -> None:
    before = with_resident(box(SIZES), "a", "gpu1")

    assert undoing(after_command(before, ForceCpu("a"))).plan.effects == "unpin a; load a on gpu1; evict a from cpu"


def test_several_levels_are_taken_back_one_after_another() -> None:
    first = box(SIZES)
    second = after_command(first, Load("a", "gpu0"))
    third = after_command(second, SetPin("a"))

    for before in (second, first):
        back = undoing(third)
        third = remembered(after(third, back.plan.steps, NOW_S), Submission("u", back.command), back.plan, NOW_S)
        assert arrangement(third) == arrangement(before)
    assert isinstance(propose(third, Undo(), OPERATOR, NOW_S), Refusal)


def test_an_undo_that_would_push_somebody_out_says_who_is_in_the_way() -> None:
    state = after_command(with_resident(box(SIZES, {"gpu0": 100}), "a", "gpu0"), Evict("a"))
    state = after_command(state, Load("b", "gpu0"), "request")

    found = propose(state, Undo(), OPERATOR, NOW_S)

    assert isinstance(found, Refusal)
    assert found.reason == "it no longer fits: b would have to leave"
    assert [(b.model, b.why) for b in found.blockers] == [("b", "came since")]


def test_what_something_else_has_moved_since_is_left_alone_and_said() -> None:
    state = after_command(with_resident(box(SIZES), "a", "gpu0"), Move("a", "gpu1"))
    state = after_command(state, Evict("a"), "request")

    found = propose(state, Undo(), OPERATOR, NOW_S)

    assert isinstance(found, Refusal)
    assert found.reason == "there is nothing to take back; what you did has been overtaken since"
    assert found.advice == ("move a to gpu1: a has left since; it is left alone",)


def test_a_change_that_was_overtaken_gives_way_to_the_one_before_it() -> None:
    state = after_command(after_command(box(SIZES), Load("tiny", CPU)), Load("a", "gpu0"))
    state = after_command(state, Move("a", "gpu1"), "request")

    back = undoing(state)

    assert back.plan.effects == "evict tiny from cpu"
    assert back.reasons == ("load a on gpu0: a has come to gpu1 since; it is left alone",)


def test_only_what_the_operator_did_can_be_taken_back() -> None:
    assert after_command(box(SIZES), Load("a"), "request").changes == ()
    assert after_command(box(SIZES), Load("a"), "trial").changes == ()


def test_the_oldest_changes_are_forgotten() -> None:
    state = box(SIZES)
    for device in ("gpu0", "gpu1") * KEPT_CHANGES:
        state = after_command(state, Load("tiny", device))

    assert len(state.changes) == KEPT_CHANGES
