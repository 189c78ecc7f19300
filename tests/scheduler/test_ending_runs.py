"""Runs that are in the way of a command: waited for, or ended when the operator says so."""

from __future__ import annotations

import pytest

from engine.api import Cancelled, Changed, Declined, Done
from engine.core.commands import Batch, Evict, ForceCpu, Load, Move
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.scheduler.effects import StopRun
from tests.core.boxes import NOW_S, box, with_resident, with_slab
from tests.scheduler.scripted_world import World


def in_use() -> tuple[World, int]:
    """`a` on gpu0, the only GPU, and a request that runs on it."""
    world = World(with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0"), Policy(cpu_fallback=False))
    return world, world.ask("a")


def test_without_a_word_an_eviction_waits_for_the_runs() -> None:
    world, lease = in_use()
    name = world.submit(Evict("a"))
    assert world.stopped == {}
    assert world.where() == {"a": "gpu0 draining"}
    assert world.scheduler.jobs(world.now_s)[0].waiting_for == "the leases of a"
    world.give_back(lease)
    world.settle()
    assert isinstance(world.answers[name], Done)


def test_an_eviction_that_is_to_be_now_ends_the_runs_with_a_sentence() -> None:
    world, lease = in_use()
    name = world.submit(Evict("a"), now=True)
    assert world.stopped == {
        lease: "the run of a was ended by the operator: evict a --now; nothing else was lost, a request brings it back"
    }
    # The worker has not answered: until then the bytes are in use.
    assert world.where() == {"a": "gpu0 draining"}
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert world.where() == {}


def test_an_eviction_that_is_to_be_now_ends_the_runs_that_an_earlier_one_waits_for() -> None:
    world, lease = in_use()
    patient, hasty = world.submit(Evict("a")), world.submit(Evict("a"), now=True)
    assert list(world.stopped) == [lease]
    world.settle()
    assert [type(world.answers[name]) for name in (patient, hasty)] == [Done, Done]
    assert world.where() == {}


def test_an_eviction_of_what_leaves_already_is_done_when_it_has_left_and_calls_nobody_back() -> None:
    world, lease = in_use()
    first, second, third = world.submit(Evict("a")), world.submit(Evict("a")), world.submit(Evict("a"))
    world.withdraw(third)
    assert world.where() == {"a": "gpu0 draining"}
    assert second not in world.answers
    world.give_back(lease)
    world.settle()
    assert [type(world.answers[name]) for name in (first, second, third)] == [Done, Done, Cancelled]
    assert world.where() == {}


def test_a_load_that_is_to_be_now_takes_the_place_of_a_model_in_use() -> None:
    world, lease = in_use()
    refused = world.submit(Load("b"))
    assert isinstance(world.answers[refused], Declined)
    name = world.submit(Load("b"), now=True)
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert lease in world.stopped
    assert world.where() == {"b": "gpu0 ready"}


@pytest.mark.parametrize("command", [Move("a", "gpu1"), ForceCpu("a"), Batch("both", (Move("a", "gpu1"), Load("b")))])
def test_whatever_takes_a_model_in_use_away_can_be_had_now(command: Move | ForceCpu | Batch) -> None:
    world = World(with_resident(box({"a": 60, "b": 60}), "a", "gpu0"))
    lease = world.ask("a")
    name = world.submit(command, now=True)
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert "ask again, it comes to" in world.stopped[lease]
    assert world.where()["a"] in ("gpu1 ready", "cpu ready")


def test_a_move_ends_the_runs_only_when_the_model_is_ready_at_its_new_place() -> None:
    world = World(with_slab(with_resident(box({"a": 60}), "a", "gpu0"), "a"))
    lease = world.ask("a")
    world.submit(Move("a", "gpu1"), now=True)
    assert lease not in world.stopped
    world.settle()
    assert lease in world.stopped


def test_requests_that_come_meanwhile_do_not_keep_the_model_there() -> None:
    world, lease = in_use()
    name = world.submit(Evict("a"), now=True)
    later = world.ask("a")
    assert later not in world.granted
    world.settle()
    assert isinstance(world.answers[name], Done)
    assert lease in world.stopped
    assert later in world.granted  # loaded anew for it
    assert later not in world.stopped


def test_a_run_is_told_to_end_once_however_long_its_worker_takes() -> None:
    world, lease = in_use()
    world.submit(Evict("a"), now=True)
    for _ in range(5):
        world.pass_time(1.0)
    assert [effect for effect in world.waiting if isinstance(effect, StopRun)] == [StopRun(lease, world.stopped[lease])]


def test_a_command_that_is_taken_back_while_the_runs_end_leaves_the_model_there() -> None:
    world, _ = in_use()
    name = world.submit(Evict("a"), now=True)
    world.withdraw(name)
    world.settle()
    assert isinstance(world.answers[name], Cancelled)
    assert world.where() == {"a": "gpu0 ready"}
    assert world.ask("a") in world.granted


def test_a_worker_that_dies_while_the_runs_end_does_not_hold_up_the_command() -> None:
    world, _ = in_use()
    name = world.submit(Load("b"), now=True)
    world.kill_worker("gpu0")
    world.settle()
    assert isinstance(world.answers[name], Done)


def test_what_was_agreed_on_holds_whoever_has_come_or_gone_of_the_runs_since() -> None:
    world, lease = in_use()
    agreed = plan(world.state, Evict("a"), Policy(), NOW_S, ending_runs=True)
    assert isinstance(agreed, Plan)
    world.give_back(lease)
    world.ask("a")
    world.ask("a")
    name = world.submit(Evict("a"), confirmed=agreed.effects, now=True)
    world.settle()
    assert isinstance(world.answers[name], Done)


def test_whoever_agreed_to_wait_is_asked_again_before_runs_are_ended() -> None:
    world, _ = in_use()
    agreed = plan(world.state, Evict("a"), Policy(), NOW_S)
    assert isinstance(agreed, Plan)
    name = world.submit(Evict("a"), confirmed=agreed.effects, now=True)
    assert isinstance(world.answers[name], Changed)


def test_a_plan_says_what_drains_and_what_it_would_end() -> None:
    state = with_resident(box({"a": 60, "b": 60}, {"gpu0": 100}), "a", "gpu0", leases=2)
    waits = plan(state, Evict("a"), Policy(), NOW_S)
    assert isinstance(waits, Plan)
    assert waits.may_end_runs
    assert waits.drains.p50_s > 0
    ends = plan(state, Evict("a"), Policy(), NOW_S, ending_runs=True)
    assert isinstance(ends, Plan)
    assert (ends.may_end_runs, ends.drains.p50_s) == (False, 0.0)
    assert ends.effects == "evict a from gpu0 at once"
    assert ends.has_side_effects

    refused = plan(state, Load("b", "gpu0"), Policy(), NOW_S)
    assert isinstance(refused, Refusal)
    assert refused.may_end_runs
    assert "end the runs of a: --now, or n in the console" in refused.advice
    load = plan(state, Load("b", "gpu0"), Policy(), NOW_S, ending_runs=True)
    assert isinstance(load, Plan)
    assert [(victim.model, victim.leases, victim.at_once) for victim in load.victims] == [("a", 2, True)]
