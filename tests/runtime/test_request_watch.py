"""What snapshots say of requests: in flight, answered, left and refused; and when they are renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.api import ASKER, CannotServe, DeadlinePassed, EngineError, Overloaded, RunStopped
from engine.core.commands import Load, Submission
from engine.core.insight.request_figures import TIMES_S, Asker, RequestFigures
from engine.core.records import Notice
from engine.core.tasks import Continuation, Embed, Generate, RunEvent, RunResult, TextPart
from engine.runtime.request_watch import Begin, Granted, RequestWatch
from tests.hand_clock import HandClock
from tests.runtime.live_engines import Box, scripted_engine

MINILM, PHI = "all-MiniLM-L6-v2", "phi-3-mini"


def run_of(*parts: str, error: EngineError | None = None) -> Begin:
    """A run that gets its device at once and says `parts`, then fails or ends."""

    async def run(_number: int, granted: Granted) -> AsyncGenerator[RunEvent, None]:
        granted("gpu0")
        for part in parts:
            yield TextPart(0, part)
        if error is not None:
            raise error
        yield RunResult("m", "gpu0", Continuation("", len(parts)), 0.0)

    return run


def refusal(error: EngineError) -> Begin:
    async def run(_number: int, _granted: Granted) -> AsyncGenerator[RunEvent, None]:
        raise error
        yield

    return run


async def figures_of(box: Box, model: str) -> RequestFigures:
    return (await box.engine.snapshot()).requests[model]


async def test_a_snapshot_says_who_waits_and_who_runs(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        box.store.may_fetch.clear()
        asked = asyncio.ensure_future(box.engine.embed(MINILM, ["a", "b"]))
        await until(box, MINILM, lambda found: found.waiting == 1)
        for worker in box.spawner.workers.values():
            worker.may_finish.clear()
        box.store.may_fetch.set()
        await until(box, MINILM, lambda found: (found.waiting, found.in_flight) == (0, 1))
        for worker in box.spawner.workers.values():
            worker.may_finish.set()
        await asked
        found = await figures_of(box, MINILM)
        assert (found.waiting, found.in_flight) == (0, 0)
        assert PHI not in (await box.engine.snapshot()).requests


async def until(box: Box, model: str, met: Callable[[RequestFigures], bool]) -> None:
    """Wait for a snapshot with such figures."""
    async for _ in box.engine.events():
        found = (await box.engine.snapshot()).requests.get(model)
        if found is not None and met(found):
            return


async def test_subscribers_hear_what_was_answered_though_nothing_happens_afterwards(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.embed(MINILM, ["a", "b"])
        await until(box, MINILM, lambda found: found.answered == 1 and found.p95_s is not None and found.per_s > 0)


async def test_whoever_goes_has_left_and_a_run_that_breaks_has_failed(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = box.engine.run(PHI, Generate("abc"))
        await anext(run)
        assert (await figures_of(box, PHI)).in_flight == 1
        await run.aclose()
        found = await figures_of(box, PHI)
        assert (found.in_flight, found.left, found.failed) == (0, 1, 0)

        worker.may_finish.set()
        for each in box.spawner.workers.values():
            each.runs_out_of_memory = True
        with pytest.raises(CannotServe):
            await box.engine.generate(PHI, "abc")
        found = await figures_of(box, PHI)
        assert (found.waiting, found.in_flight, found.left, found.failed) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("run", "counted"),
    [
        (run_of("a", error=DeadlinePassed("too late")), RequestFigures(left=1)),
        (run_of(error=RunStopped("the operator took it off")), RequestFigures(left=1)),
        (run_of("a", error=CannotServe("it broke")), RequestFigures(failed=1)),
        (refusal(Overloaded("too many wait")), RequestFigures(refused=1)),
        (refusal(CannotServe("no device has room")), RequestFigures(refused=1)),
        (refusal(DeadlinePassed("it waited too long")), RequestFigures(left=1)),
    ],
)
async def test_what_came_to_nothing_is_counted_by_how_it_ended(run: Begin, counted: RequestFigures) -> None:
    watch = RequestWatch(HandClock())
    with pytest.raises(EngineError):
        async for _ in watch.follow("m", Generate("a"), Asker(), run):
            pass
    assert watch.figures() == {"m": counted}


async def test_an_answer_counts_at_once_whenever_its_reader_goes_on() -> None:
    watch = RequestWatch(HandClock())
    following = watch.follow("m", Generate("a"), Asker(), run_of("a", "b"))
    said = [await anext(following) for _ in range(3)]
    assert isinstance(said[-1], RunResult)
    assert (watch.figures()["m"].in_flight, watch.figures()["m"].answered) == (0, 1)
    await following.aclose()
    assert watch.figures()["m"].left == 0


async def test_a_request_that_nobody_iterates_was_never_asked() -> None:
    watch = RequestWatch(HandClock())
    watch.follow("m", Embed(("a",)), Asker(), run_of())
    assert watch.figures() == {}


@asynccontextmanager
async def renewing(
    watch: RequestWatch, told: list[float], clock: HandClock, quiet: bool = False
) -> AsyncIterator[None]:
    renewal = asyncio.create_task(watch.renew(lambda: told.append(clock.passed_s), lambda: quiet))
    try:
        yield
    finally:
        renewal.cancel()


async def test_figures_are_renewed_while_they_change_and_no_longer() -> None:
    clock, told = HandClock(), list[float]()
    watch = RequestWatch(clock)
    async with renewing(watch, told, clock):
        await clock.pass_by(5)
        assert not clock.is_slept_by_somebody  # nothing was asked: nothing is looked at
        async for _ in watch.follow("m", Generate("a"), Asker(), run_of("a", "b")):
            pass
        await clock.somebody_sleeps()
        await clock.pass_by(TIMES_S / 2)
        # the rate sinks for a minute, and then stands still
        assert told[:3] == [6.0, 7.0, 8.0]
        assert told[-1] <= 70.0
        await clock.pass_by(TIMES_S)
        assert told[-1] == 5.0 + TIMES_S  # the times are of nobody any more
        assert not clock.is_slept_by_somebody


async def test_nothing_is_renewed_while_the_engine_keeps_quiet() -> None:
    clock, told = HandClock(), list[float]()
    watch = RequestWatch(clock)
    async with renewing(watch, told, clock, quiet=True):
        async for _ in watch.follow("m", Generate("a"), Asker(), run_of("a")):
            pass
        await clock.somebody_sleeps()
        await clock.pass_by(30)
    assert told == []


async def test_the_operator_cancels_one_request_and_whoever_asked_hears_who_did(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        box.spawner.workers["gpu0"].may_finish.clear()
        token = ASKER.set(Asker(key="app"))
        asked = asyncio.ensure_future(box.engine.generate(PHI, "abc"))
        await until(box, PHI, lambda found: found.in_flight == 1)
        ASKER.reset(token)
        (request,) = (await box.engine.requests()).requests
        assert (request.model, request.device, request.asker.text) == (PHI, "gpu0", "key app")
        assert (await box.engine.cancel_request(request.number)).asker == request.asker
        with pytest.raises(RunStopped, match=rf"the operator cancelled this request \(number {request.number}\)"):
            await asked
        box.spawner.workers["gpu0"].may_finish.set()
        assert (await figures_of(box, PHI)).left == 1
        assert (await box.engine.requests()).requests == ()
        newest = (await box.engine.records())[-1].entry
        assert isinstance(newest, Notice)
        assert newest.text == f"the operator cancelled request {request.number}, of {PHI}, asked by key app"
        with pytest.raises(EngineError, match=rf"no request under way has the number {request.number}"):
            await box.engine.cancel_request(request.number)
