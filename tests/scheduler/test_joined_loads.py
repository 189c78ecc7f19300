"""A load that is under way is joined: a command for its model waits for it, says so, and is planned anew when it has ended."""

from __future__ import annotations

import pytest

from engine.api import Cancelled, Changed, Done
from engine.core.commands import Batch, ForceCpu, LeaveCpu, Load, Move, SetPin, Single
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.proposals import Undo
from engine.core.proposing.propose import propose
from engine.scheduler.board import Patience
from engine.scheduler.effects import BindModel
from tests.core.boxes import NOW_S, box, with_resident, with_slab
from tests.scheduler.scripted_world import World


def loading(**sizes: int) -> tuple[World, str]:
    """`a` on its way to gpu0, and the command that brings it."""
    world = World(with_slab(box({"a": 60, **sizes}), "a"), patience=Patience(retries=0))
    first = world.submit(Load("a", "gpu0"))
    world.expect(BindModel)
    return world, first


def waits(world: World, name: str) -> str:
    """What the job says that it waits for."""
    return next(job.waiting_for for job in world.scheduler.jobs(world.now_s) if job.id == name)


def test_a_load_of_a_model_that_is_being_loaded_waits_for_it_and_tells_of_its_end() -> None:
    world, first = loading()
    name = world.submit(Load("a"), confirmed="")
    assert name not in world.answers
    assert waits(world, name) == "a is being loaded on gpu0; that is waited for"
    world.settle()
    assert isinstance(world.answers[first], Done)
    answer = world.answers[name]
    assert isinstance(answer, Done)
    assert answer.plan.reasons == ("a is already ready on gpu0",)


def test_it_waits_as_long_as_that_load_may_take() -> None:
    world, _ = loading()
    name = world.submit(Load("a"))
    world.pass_time(100.0)  # longer than a command waits for room
    assert name not in world.answers
    world.settle()
    assert isinstance(world.answers[name], Done)


def test_when_that_load_fails_the_one_that_waited_tries_itself() -> None:
    world, _ = loading()
    name = world.submit(Load("a"))
    world.fail_bind("a", "out of luck")
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert world.where() == {"a": "gpu0 ready"}


def test_whoever_agreed_to_nothing_but_waiting_is_asked_before_more_is_done() -> None:
    world, _ = loading()
    name = world.submit(Load("a"), confirmed="")
    world.fail_bind("a", "out of luck")
    answer = world.answers[name]
    assert isinstance(answer, Changed)
    assert [load.device for load in answer.plan.loads] == ["gpu0"]


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (Load("a", "gpu1"), "gpu1 ready"),
        (Move("a", "gpu1"), "gpu1 ready"),
        (Move("a", "gpu0"), "gpu0 ready"),
        (ForceCpu("a"), "cpu ready"),
        (LeaveCpu("a"), "gpu0 ready"),
        (SetPin("a", "gpu1"), "gpu1 ready"),
        (Batch("two", (Load("b", "gpu1"), Load("a"))), "gpu0 ready"),
    ],
)
def test_a_command_for_another_place_waits_and_is_planned_anew(command: Single | Batch, place: str) -> None:
    world, _ = loading(b=10)
    name = world.submit(command)
    assert name not in world.answers
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert world.where()["a"] == place


def test_a_load_joins_one_that_a_request_set_off_and_one_that_comes_back_after_a_death() -> None:
    world = World(with_slab(with_resident(box({"a": 60, "b": 20}), "a", "gpu0"), "b"))
    lease = world.ask("b")
    by_request = world.submit(Load("b"))
    world.settle()
    assert lease in world.granted
    assert isinstance(world.answers[by_request], Done)

    world.kill_worker("gpu0")
    while not any(r.model == "a" for r in world.state.residents):
        world.perform(world.waiting[0])
    restored = world.submit(Load("a"))
    assert restored not in world.answers
    world.settle()
    assert isinstance(world.answers[restored], Done)


def test_one_that_waits_can_be_taken_back_and_the_load_goes_on() -> None:
    world, first = loading()
    name = world.submit(Load("a"))
    world.withdraw(name)
    assert isinstance(world.answers[name], Cancelled)
    world.settle()
    assert isinstance(world.answers[first], Done)


def test_a_load_that_is_taken_back_is_begun_anew_by_the_one_that_waited() -> None:
    world, first = loading()
    name = world.submit(Load("a"))
    world.withdraw(first)
    world.settle()
    assert isinstance(world.answers[first], Cancelled)
    assert isinstance(world.answers[name], Done)
    assert world.where()["a"].endswith("ready")


def test_the_preview_says_that_it_would_wait() -> None:
    world, _ = loading()
    found = plan(world.state, Load("a"), Policy(), NOW_S)
    assert isinstance(found, Plan)
    assert (found.joins, found.steps, found.reasons) == (
        True,
        (),
        ("a is being loaded on gpu0; that is waited for",),
    )


def test_nothing_is_proposed_that_would_have_to_wait_first() -> None:
    world = World(with_slab(box({"a": 60}), "a"))
    world.submit(Load("a", "gpu0"))
    world.settle()
    world.submit(Move("a", "gpu1"))
    world.settle()
    world.kill_worker("gpu1")
    while not any(r.stage == "loading" for r in world.state.residents):
        world.perform(world.waiting[0])
    found = propose(world.state, Undo(), Policy(), NOW_S)
    assert isinstance(found, Refusal)
    assert found.advice == ("ask again when it has been loaded",)
