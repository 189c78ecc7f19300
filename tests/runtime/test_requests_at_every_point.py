"""Requests that are cancelled at every point, and whatever else happens to them in any order: each has one end, and each of
their leases one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import CannotServe, EngineError, RunStopped
from engine.core.tasks import Embed, Generate, RunEvent, RunResult, TextPart
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure, Reply
from tests.runtime.request_desk import ANSWER, LEFT, Desk, OnWorker, turns

DEATH: Final = WorkerDied("killed by SIGKILL")
NO_ROOM: Final = Failure(1, "out of memory", "1 row needs 40 MiB")


async def _play(desk: Desk, endings: Iterable[Reply | Exception]) -> None:
    """A life of a request, a turn of the loop between any two of its events."""
    for ending in endings:
        await asyncio.sleep(0)
        desk.has_begun.clear()
        desk.runs.granted(len(desk.asked), "gpu0")
        await desk.has_begun.wait()
        run = desk.on_workers[-1]
        for number in range(3):
            run.say(TextPart(number, "x"))
            await asyncio.sleep(0)
        _answer(run, ending)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def _answer(run: OnWorker, ending: Reply | Exception) -> None:
    if isinstance(ending, Exception):
        run.reply.set_exception(ending)
    else:
        run.reply.set_result(ending)


@pytest.mark.parametrize("endings", [[ANSWER], [DEATH, ANSWER], [NO_ROOM, DEATH, NO_ROOM, ANSWER], [DEATH, DEATH]])
async def test_whoever_is_cancelled_at_any_point_leaves_nothing_behind(endings: list[Reply | Exception]) -> None:
    point, was_cancelled = 0, True
    while was_cancelled:
        desk = Desk()
        request = desk.ask()
        play = asyncio.create_task(_play(desk, endings))
        await turns(point)
        request.cancel()
        (outcome,) = await asyncio.gather(request, return_exceptions=True)
        was_cancelled = isinstance(outcome, asyncio.CancelledError)
        play.cancel()
        await asyncio.gather(play, return_exceptions=True)
        for run in desk.on_workers:
            if not run.reply.done():
                assert run.times_left == 1
                run.reply.set_result(LEFT)
        await turns()
        desk.check_nothing_is_left()
        point += 1
    assert point > 5 * len(endings)


ACTIONS: Final = st.tuples(
    st.sampled_from(["ask", "grant", "deny", "say", "answer", "no room", "die", "leave", "stop", "a minute"]),
    st.integers(0, 5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_in_any_order_each_request_has_one_end_and_each_lease_one(actions: list[tuple[str, int]]) -> None:
    asyncio.run(_in_order(actions))


async def _in_order(actions: list[tuple[str, int]]) -> None:
    desk, requests = Desk(), list[asyncio.Task[list[RunEvent]]]()
    for action, number in actions:
        _act(desk, requests, action, number)
        await turns()
    while not all(request.done() for request in requests) or any(not run.reply.done() for run in desk.on_workers):
        for message in desk.asked:
            desk.runs.granted(message.lease, "gpu0")
        await turns()
        for run in desk.on_workers:
            if not run.reply.done():
                run.reply.set_result(LEFT if run.times_left else ANSWER)
        await turns()
    for request in requests:
        _check_end(request)
    assert all(run.times_left <= 1 for run in desk.on_workers)
    desk.check_nothing_is_left()


def _act(desk: Desk, requests: list[asyncio.Task[list[RunEvent]]], action: str, number: int) -> None:
    alive = [run for run in desk.on_workers if not run.reply.done()]
    run = alive[number % len(alive)] if alive else None
    lease = number % len(desk.asked) + 1 if desk.asked else 0
    match action:
        case "ask":
            requests.append(desk.ask(Embed(("a",)) if number % 2 else Generate("a")))
        case "grant":
            desk.runs.granted(lease, "gpu0")
        case "deny":
            desk.runs.denied(lease, CannotServe("a needs more room than there is"))
        case "stop":
            desk.runs.stop(lease, RunStopped("ended by the operator"))
        case "leave" if requests:
            requests[number % len(requests)].cancel()
        case "a minute":
            desk.clock.jumps(60)
        case "say" if run:
            run.say(TextPart(number, "x"))
        case "answer" if run:
            run.reply.set_result(LEFT if run.times_left else ANSWER)
        case "no room" if run:
            run.reply.set_result(NO_ROOM)
        case "die" if run:
            run.reply.set_exception(DEATH)


def _check_end(request: asyncio.Task[list[RunEvent]]) -> None:
    """It was answered, once and last; or it was refused in words; or whoever asked had left."""
    if request.cancelled():
        return
    if error := request.exception():
        assert isinstance(error, EngineError)
        assert str(error)
        return
    *parts, last = request.result()
    assert isinstance(last, RunResult)
    assert not any(isinstance(part, RunResult) for part in parts)
