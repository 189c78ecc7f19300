"""Requests between the scheduler and the workers, both scripted, on a clock that stands: deadlines, deaths, and leaving."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from engine.api import CannotServe, DeadlinePassed, EngineError, EngineUnreachable, RunStopped
from engine.core.names import DeviceId, ModelName
from engine.core.tasks import Continuation, Embed, Generate, RunEvent, RunResult, Task, TaskPart, TaskResult, TextPart
from engine.runtime.requests import RUN_ATTEMPTS, Runs
from engine.runtime.workers import Running
from engine.scheduler.messages import LeaseAsked, LeaseEnded, Message, RunOutOfMemory
from engine.settings.schema import RequestDeadlines
from engine.worker.client import WorkerDied
from engine.worker.protocol import Failure, Reply, RunEnded

GENERATION_S: Final = 600.0
ANSWER: Final = RunEnded(1, Continuation("abc", 3), device_s=0.5)
LEFT: Final = Failure(1, "left", "nobody waited for it any more")


class HeldClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.passed_s

    def monotonic(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.passed_s + seconds, awake))
        await awake

    def go_on(self, seconds: float) -> None:
        self.passed_s += seconds
        for until_s, awake in self._sleepers:
            if until_s <= self.passed_s and not awake.done():
                awake.set_result(None)


class OnWorker(Struct, eq=False):
    """A run as its worker sees it."""

    reply: asyncio.Future[Reply]
    say: Callable[[TaskPart], None]
    times_left: int = 0

    def leave(self) -> None:
        self.times_left += 1


class Desk:
    """Where requests come to: it notes what is posted, and plays the scheduler and the workers as the test says."""

    def __init__(self) -> None:
        self.clock = HeldClock()
        self.posted: list[Message] = []
        self.on_workers: list[OnWorker] = []
        """Runs in the order in which they began."""
        self.has_begun = asyncio.Event()
        """Set when one has."""
        self.runs = Runs(
            self.posted.append, self._run, self.clock, RequestDeadlines(), lambda _: "it waited for a place"
        )

    def _run(self, device: DeviceId, model: ModelName, task: Task, say: Callable[[TaskPart], None]) -> Running:
        run = OnWorker(asyncio.get_running_loop().create_future(), say)
        self.on_workers.append(run)
        self.has_begun.set()
        return Running(run.reply, run.leave)

    def ask(self, task: Task | None = None) -> asyncio.Task[list[RunEvent]]:
        return asyncio.create_task(self._answer(task or Generate("a")))

    async def _answer(self, task: Task) -> list[RunEvent]:
        events = self.runs.run("a", task, _as_result)
        try:
            return [event async for event in events]
        finally:
            await events.aclose()

    @property
    def asked(self) -> list[LeaseAsked]:
        return [message for message in self.posted if isinstance(message, LeaseAsked)]

    @property
    def ended(self) -> Counter[int]:
        return Counter(message.lease for message in self.posted if isinstance(message, LeaseEnded))

    async def granted(self, device: DeviceId = "gpu0") -> OnWorker:
        """The newest lease begins, and its run."""
        await turns()
        self.runs.granted(self.asked[-1].lease, device)
        await turns()
        return self.on_workers[-1]

    def check_nothing_is_left(self) -> None:
        assert self.ended == Counter(message.lease for message in self.asked)
        assert asyncio.all_tasks() == {asyncio.current_task()}


def _as_result(device: DeviceId, result: TaskResult) -> RunResult:
    return RunResult("a", device, result, 0.0)


async def turns(count: int = 12) -> None:
    """Let whoever can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


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
    desk.clock.go_on(GENERATION_S - 1)
    await turns()
    assert not request.done()

    desk.clock.go_on(1)
    with pytest.raises(
        DeadlinePassed, match="within 600 s and was given up: it waited for a place; load it beforehand"
    ):
        await request
    desk.check_nothing_is_left()


async def test_a_run_that_takes_too_long_is_given_up_at_once_and_its_lease_ends_with_its_worker() -> None:
    desk = Desk()
    request = desk.ask()
    run = await desk.granted("gpu1")
    desk.clock.go_on(GENERATION_S)

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
    desk.clock.go_on(120)

    with pytest.raises(DeadlinePassed, match="within 120 s"):
        await rows
    assert not text.done()
    text.cancel()
    await asyncio.wait([text])
    desk.check_nothing_is_left()


async def test_the_deadline_frees_the_device_though_the_client_does_not_take_what_came() -> None:
    desk = Desk()
    events = desk.runs.run("a", Generate("a"), _as_result)
    first = asyncio.ensure_future(anext(events))
    run = await desk.granted()
    run.say(TextPart(0, "x"))
    await first
    desk.clock.go_on(GENERATION_S)
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
    desk.clock.go_on(GENERATION_S)
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
    events = desk.runs.run("a", Generate("a"), _as_result)
    first = asyncio.ensure_future(anext(events))
    run = await desk.granted()
    run.say(TextPart(0, "x"))
    await first
    run.reply.set_exception(WorkerDied("killed by SIGKILL"))
    await turns()
    desk.clock.go_on(GENERATION_S)
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


# ── at every point, in any order ─────────────────────────────────────────────────────────────────

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
            desk.clock.go_on(60)
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
