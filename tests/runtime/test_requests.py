"""Requests between the scheduler and the workers: deadlines, deaths, want of room, and the engine's end."""

from __future__ import annotations

import asyncio

import pytest

from engine.api import CannotServe, DeadlinePassed, EngineUnreachable, RunStopped
from engine.core.tasks import Embed, Generate, RunResult, TextPart
from engine.runtime.requests import RUN_ATTEMPTS
from engine.scheduler.messages import LeaseAsked, LeaseEnded, RunOutOfMemory
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure
from tests.runtime.request_desk import ANSWER, GENERATION_S, LEFT, Desk, as_result, turns


async def test_a_lease_ends_with_what_its_run_took_of_the_device() -> None:
    desk = Desk()
    request = desk.ask(Embed(("a", "b", "c")))
    run = await desk.granted()
    run.reply.set_result(ANSWER)

    assert await request == [RunResult("a", "gpu0", ANSWER.result, 0.0)]
    assert desk.posted == [LeaseAsked(1, "a", 3), LeaseEnded(1, 0.5)]
    desk.check_nothing_is_left()


async def test_a_request_that_waits_too_long_for_its_model_is_told_what_it_waited_for() -> None:
    desk = Desk()
    request = desk.ask()
    await turns()
    desk.clock.jumps(GENERATION_S - 1)
    await turns()
    assert not request.done()

    desk.clock.jumps(1)
    with pytest.raises(
        DeadlinePassed, match="within 600 s and was given up: it waited for a place; load it beforehand"
    ):
        await request
    desk.check_nothing_is_left()


async def test_a_run_that_takes_too_long_is_given_up_at_once_and_its_lease_ends_with_its_worker() -> None:
    desk = Desk()
    request = desk.ask()
    run = await desk.granted("gpu1")
    desk.clock.jumps(GENERATION_S)

    with pytest.raises(DeadlinePassed, match=r"it ran on gpu1, .*requests\.deadline_s\.generation"):
        await request
    assert run.times_left == 1
    assert not desk.ended
    run.reply.set_result(LEFT)
    await turns()
    desk.check_nothing_is_left()


async def test_each_task_has_a_deadline_of_its_own() -> None:
    desk = Desk()
    rows, text = desk.ask(Embed(("a",))), desk.ask()
    await turns()
    desk.clock.jumps(120)

    with pytest.raises(DeadlinePassed, match="within 120 s"):
        await rows
    assert not text.done()
    text.cancel()
    await asyncio.wait([text])
    desk.check_nothing_is_left()


async def test_the_deadline_frees_the_device_though_the_client_does_not_take_what_came() -> None:
    desk = Desk()
    events = desk.runs.run(1, "a", Generate("a"), as_result)
    first = asyncio.ensure_future(anext(events))
    run = await desk.granted()
    run.say(TextPart(0, "x"))
    await first
    desk.clock.jumps(GENERATION_S)
    await turns()

    assert run.times_left == 1
    run.reply.set_result(LEFT)
    with pytest.raises(DeadlinePassed):
        await anext(events)
    assert run.times_left == 1
    await turns()
    desk.check_nothing_is_left()


async def test_a_deadline_in_the_turn_in_which_the_lease_is_granted_is_kept() -> None:
    desk = Desk()
    request = desk.ask()
    await turns()
    desk.clock.jumps(GENERATION_S)
    desk.runs.granted(1, "gpu0")
    await turns()
    for run in desk.on_workers:
        run.reply.set_result(LEFT)
    await turns()

    with pytest.raises(DeadlinePassed):
        await request
    desk.check_nothing_is_left()


async def test_no_attempt_begins_after_the_deadline() -> None:
    desk = Desk()
    events = desk.runs.run(1, "a", Generate("a"), as_result)
    first = asyncio.ensure_future(anext(events))
    run = await desk.granted()
    run.say(TextPart(0, "x"))
    await first
    run.reply.set_exception(WorkerDied("killed by SIGKILL"))
    await turns()
    desk.clock.jumps(GENERATION_S)
    await turns()

    with pytest.raises(DeadlinePassed):
        await anext(events)
    desk.check_nothing_is_left()


async def test_the_run_of_a_dead_worker_is_tried_once_more_and_keeps_its_place() -> None:
    desk = Desk()
    request = desk.ask()
    first = await desk.granted("gpu0")
    first.say(TextPart(0, "x"))
    first.reply.set_exception(WorkerDied("killed by SIGKILL"))
    second = await desk.granted("gpu1")
    second.reply.set_result(ANSWER)

    assert [event.device for event in await request if isinstance(event, RunResult)] == ["gpu1"]
    assert [(message.lease, message.again) for message in desk.asked] == [(1, False), (2, True)]
    desk.check_nothing_is_left()


async def test_a_request_that_two_workers_died_under_is_refused_and_not_told_to_ask_again() -> None:
    desk = Desk()
    request = desk.ask()
    for device in ("gpu0", "gpu1"):
        run = await desk.granted(device)
        run.reply.set_exception(WorkerDied("killed by SIGKILL"))

    with pytest.raises(CannotServe, match=r"the worker of gpu1 killed by SIGKILL .* ask for less") as refused:
        await request
    assert "ask again" not in str(refused.value)
    desk.check_nothing_is_left()


async def test_want_of_room_and_a_death_are_counted_apart() -> None:
    desk = Desk()
    request = desk.ask()
    for _ in range(RUN_ATTEMPTS - 1):
        run = await desk.granted()
        run.reply.set_result(Failure(1, "out of memory", "1 row needs 40 MiB"))
    run = await desk.granted()
    run.reply.set_exception(WorkerDied("killed by SIGKILL"))
    run = await desk.granted()
    run.reply.set_result(ANSWER)

    assert (await request)[-1] == RunResult("a", "gpu0", ANSWER.result, 0.0)
    assert desk.posted.count(RunOutOfMemory("a", "gpu0")) == RUN_ATTEMPTS - 1
    desk.check_nothing_is_left()


async def test_when_the_engine_ends_whoever_waits_or_comes_later_hears_so() -> None:
    desk = Desk()
    running = desk.ask()
    run = await desk.granted()
    waiting = desk.ask()
    await turns()
    desk.runs.end(EngineUnreachable("ended by its operator"))
    late = desk.ask()

    for request in (running, waiting, late):
        with pytest.raises(EngineUnreachable, match="ended by its operator"):
            await request
    assert run.times_left == 1
    run.reply.set_exception(WorkerDied("exited with status 0"))
    await turns()
    desk.check_nothing_is_left()


async def test_a_request_that_is_cancelled_while_it_runs_leaves_its_worker_and_says_why() -> None:
    desk = Desk()
    asked = desk.ask()
    run = await desk.granted()
    assert desk.runs.cancel(1)
    with pytest.raises(RunStopped, match="the operator cancelled this request"):
        await asked
    assert run.times_left == 1
    run.reply.set_result(LEFT)
    await turns()
    desk.check_nothing_is_left()
    assert not desk.runs.cancel(1)


async def test_a_request_that_is_cancelled_while_it_waits_never_gets_its_lease() -> None:
    desk = Desk()
    asked = desk.ask()
    await turns()
    assert desk.runs.cancel(1)
    with pytest.raises(RunStopped):
        await asked
    assert desk.on_workers == []
    desk.check_nothing_is_left()


async def test_a_request_that_is_cancelled_before_it_could_ask_for_a_lease_never_does() -> None:
    desk, may_begin = Desk(), asyncio.Event()

    async def made_ready() -> None:
        await may_begin.wait()

    events = desk.runs.run(7, "a", Generate("a"), as_result, made_ready=made_ready)
    asked = asyncio.ensure_future(anext(events))
    await turns()
    assert desk.runs.cancel(7)
    may_begin.set()
    with pytest.raises(RunStopped):
        await asked
    assert desk.asked == []
    desk.check_nothing_is_left()
