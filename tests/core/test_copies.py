"""Copies: a model that is ready on several GPUs, how one more comes, how one leaves, and what stays."""

from __future__ import annotations

import pytest

from engine.core.commands import (
    Batch,
    Command,
    Evict,
    ForceCpu,
    Load,
    Move,
    SetPin,
    Submission,
    command_text,
    to_stand_on,
)
from engine.core.names import CPU
from engine.core.planning.planner import after, plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.proposals import Drain, Proposal, Undo
from engine.core.proposing.propose import propose
from engine.core.proposing.undo import remembered
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_pin, with_resident

SIZES = {"a": 50, "b": 50, "tiny": 5}
OPERATOR = Policy(min_residency_s=0.0)


def twice() -> State:
    """`a` on both GPUs, the copy on gpu0 being the older one."""
    return with_resident(with_resident(box(SIZES), "a", "gpu0"), "a", "gpu1")


def planned(state: State, command: Command) -> Plan:
    found = plan(state, command, OPERATOR, NOW_S)
    assert isinstance(found, Plan), found
    return found


def refused(state: State, command: Command) -> Refusal:
    found = plan(state, command, OPERATOR, NOW_S)
    assert isinstance(found, Refusal), found
    return found


def test_one_more_copy_leaves_the_first_where_it_is() -> None:
    found = planned(with_resident(box(SIZES), "a", "gpu0"), Load("a", also=True))

    assert found.effects == "load a also on gpu1"
    assert not found.has_side_effects


def test_without_also_a_load_elsewhere_moves_the_model() -> None:
    found = planned(with_resident(box(SIZES), "a", "gpu0"), Load("a", "gpu1"))

    assert found.effects == "load a on gpu1; evict a from gpu0"


def test_also_loads_a_model_that_is_nowhere_like_any_other() -> None:
    assert planned(box(SIZES), Load("a", "gpu1", also=True)).effects == "load a on gpu1"


def test_a_gpu_has_no_second_copy() -> None:
    assert planned(twice(), Load("a", "gpu1", also=True)).steps == ()
    assert refused(twice(), Load("a", also=True)).reason == "a is on every GPU already"


def test_the_cpu_has_no_copy_beside_a_gpu() -> None:
    assert (
        "copies stand on GPUs only" in refused(with_resident(box(SIZES), "a", "gpu0"), Load("a", CPU, also=True)).reason
    )
    on_cpu = refused(with_resident(box(SIZES), "a", CPU), Load("a", "gpu0", also=True))
    assert "copies stand on GPUs only" in on_cpu.reason
    assert on_cpu.advice == ("move a to gpu0",)


def test_a_copy_is_evicted_by_its_device_and_the_others_stay() -> None:
    found = planned(twice(), Evict("a", "gpu1"))

    assert found.effects == "evict a from gpu1"
    assert found.reasons == ("it stays on gpu0",)
    assert planned(twice(), Evict("a", "cpu")).reasons == ("a is not on cpu",)


def test_an_eviction_that_names_no_device_takes_all_copies_off_and_keeps_the_bytes_once() -> None:
    found = planned(twice(), Evict("a"))

    assert found.effects == "evict a from gpu0; evict a from gpu1"
    assert [step.written_back for step in found.steps if hasattr(step, "written_back")] == [True, False]


def test_a_pin_keeps_the_oldest_copy_and_others_may_be_victims() -> None:
    state = with_pin(twice(), "a")

    assert planned(state, Load("b", "gpu1")).effects == "evict a from gpu1; load b on gpu1"
    assert refused(state, Load("b", "gpu0")).blockers[0].why == "pinned"


def test_a_pin_to_a_device_keeps_the_copy_there() -> None:
    state = with_pin(twice(), "a", "gpu1")

    assert planned(state, Load("b", "gpu0")).effects == "evict a from gpu0; load b on gpu0"
    assert refused(state, Load("b", "gpu1")).blockers[0].why == "pinned"


def test_evicting_a_copy_takes_the_pin_only_where_it_held_that_copy() -> None:
    assert planned(with_pin(twice(), "a"), Evict("a", "gpu1")).effects == "evict a from gpu1"
    assert planned(with_pin(twice(), "a", "gpu0"), Evict("a", "gpu1")).effects == "evict a from gpu1"
    assert planned(with_pin(twice(), "a", "gpu1"), Evict("a", "gpu1")).effects == "evict a from gpu1; unpin a"


def test_pinning_a_copy_moves_nothing() -> None:
    assert planned(twice(), SetPin("a", "gpu1")).effects == "pin a on gpu1"


@pytest.mark.parametrize(
    ("before", "command"),
    [
        (with_resident(box(SIZES), "a", "gpu0"), Load("a", "gpu1", also=True)),
        (twice(), Evict("a", "gpu1")),
        (twice(), Evict("a")),
        (twice(), ForceCpu("a")),
        (with_pin(twice(), "a", "gpu0"), Evict("a", "gpu0")),
        (box(SIZES), Batch("both", (Load("a", "gpu0"), Load("a", "gpu1", also=True)))),
    ],
    ids=lambda value: command_text(value) if isinstance(value, Load | Evict | ForceCpu | Batch) else "",
)
def test_undo_puts_copies_back_where_they_were(before: State, command: Command) -> None:
    done = planned(before, command)
    state = remembered(after(before, done.steps, NOW_S), Submission("s", command), done, NOW_S)

    back = propose(state, Undo(), OPERATOR, NOW_S)

    assert isinstance(back, Proposal), back
    undone = after(state, back.plan.steps, NOW_S)
    assert {(r.model, r.device) for r in undone.residents} == {(r.model, r.device) for r in before.residents}
    assert {n: m.pin for n, m in undone.models.items()} == {n: m.pin for n, m in before.models.items()}


def test_undo_leaves_a_copy_alone_that_the_engine_has_taken_off_since() -> None:
    before = with_resident(box(SIZES), "a", "gpu0")
    command = Load("a", "gpu1", also=True)
    done = planned(before, command)
    state = remembered(before, Submission("s", command), done, NOW_S)

    found = propose(state, Undo(), OPERATOR, NOW_S)

    assert isinstance(found, Refusal)
    assert found.reason.startswith("there is nothing to take back")


def test_draining_a_device_takes_a_copy_off_whose_model_stays_elsewhere() -> None:
    found = propose(twice(), Drain("gpu1"), OPERATOR, NOW_S)

    assert isinstance(found, Proposal)
    assert found.plan.effects == "evict a from gpu1"


@pytest.mark.parametrize(
    ("here", "wanted", "commands"),
    [
        ((), ("gpu0", "gpu1"), (Load("a", "gpu0"), Load("a", "gpu1", also=True))),
        (("gpu0",), (), (Evict("a"),)),
        (("gpu0", "gpu1"), ("gpu1",), (Evict("a", "gpu0"),)),
        (("gpu0",), ("gpu0", "gpu1"), (Load("a", "gpu1", also=True),)),
        (("cpu",), ("gpu0", "gpu1"), (Move("a", "gpu0"), Load("a", "gpu1", also=True))),
        (("gpu0", "gpu1"), ("gpu0", "gpu1"), ()),
    ],
)
def test_commands_bring_a_model_from_some_places_to_others(
    here: tuple[str, ...], wanted: tuple[str, ...], commands: tuple[Command, ...]
) -> None:
    leaving, coming = to_stand_on("a", here, wanted)

    assert (*leaving, *coming) == commands
