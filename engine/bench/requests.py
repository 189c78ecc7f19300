"""Measuring requests through the engine's API, as a client sees them: each model cold, then one request at a time, then several
at once. What may be evicted is agreed on beforehand; a model whose load would have any other victim is left out, with the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from itertools import count, pairwise
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from engine.api import EngineAPI, EngineError
from engine.bench.measure import Switching
from engine.bench.put_back import put_back
from engine.bench.records import NotMeasured
from engine.bench.request_records import (
    REQUESTS_VERSION,
    RequestOmission,
    RequestRound,
    RequestSeries,
    RequestsResult,
    RequestSubject,
    RequestTimes,
)
from engine.bench.run import Watcher, kept_quiet
from engine.core.commands import Load
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.state import Resident, State
from engine.core.tasks import Continuation, RunResult, Task, sample_task, unit_of_work
from engine.recording.host_facts import this_machine

_TEXT: Final = "a cat sits on the mat, and it is number"


class RequestMix(Struct, frozen=True):
    """What is sent to each model."""

    rounds: int
    """Requests to it cold, as many one at a time, and as many times several at once."""
    warm_up: int
    """Rounds before them, to a model that has come, which do not count."""
    at_once: int
    most_tokens: int
    """Of a generation; less where a model's texts are shorter."""

    @property
    def text(self) -> str:
        together = f", and {self.rounds} times {self.at_once} at once" if self.at_once > 1 else ""
        return (
            f"to each model {self.rounds} requests that it is loaded for, {self.rounds} one at a time{together}; a short text"
            f" each, or at most {self.most_tokens} tokens after one"
        )

    def subjects(self, models: Sequence[ModelName]) -> tuple[RequestSubject, ...]:
        """In the order in which they are measured."""
        return tuple(subject for model in models for subject in self._subjects(model))

    def _subjects(self, model: ModelName) -> tuple[RequestSubject, ...]:
        alone = RequestSubject(model, "alone", cold=True), RequestSubject(model, "alone")
        return (*alone, RequestSubject(model, "together", self.at_once)) if self.at_once > 1 else alone


class RequestProgress(Struct, frozen=True):
    """Where a measurement is."""

    subject: RequestSubject
    turn: str
    """Which round is under way: "warming up", "3 of 7"."""


ShowRequests: TypeAlias = Callable[[RequestProgress], None]


async def timed(api: EngineAPI, model: ModelName, task: Task, due_s: float | None = None) -> RequestTimes:
    """Send a request, and note what comes when. `due_s`: from when on it is timed, by the steady clock, if not from now on.
    Raises EngineError."""
    began_s = time.monotonic() if due_s is None else due_s
    came_s: list[float] = []
    async with aclosing(api.run(model, task)) as events:
        async for event in events:
            came_s.append(time.monotonic())
            if isinstance(event, RunResult):
                return _times(event, task, began_s, came_s)
    raise EngineError(f"the run of {model} ended without a result")


def _times(ran: RunResult, task: Task, began_s: float, came_s: Sequence[float]) -> RequestTimes:
    *parts_s, ended_s = came_s
    first_s = parts_s[0] if parts_s else ended_s
    gaps_s = tuple(after - before for before, after in pairwise(parts_s))
    work = ran.result.tokens if isinstance(ran.result, Continuation) else task.work
    return RequestTimes(ran.device, ended_s - began_s, first_s - began_s, gaps_s, work)


class RequestBench:
    """Measures one subject after another. Who is resident changes meanwhile; putting that back is the caller's."""

    def __init__(self, api: EngineAPI, mix: RequestMix, may_leave: Collection[ModelName], show: ShowRequests) -> None:
        self._api: Final = api
        self._switching: Final = Switching(api, may_leave)
        self._mix: Final = mix
        self._show: Final = show
        self._numbers: Final = count(1)

    async def measure(self, subject: RequestSubject) -> RequestSeries | RequestOmission:
        """The subject's figures."""
        model = (await self._switching.state()).models[subject.model]
        try:
            rounds = [answers async for answers in self._rounds(subject, model.spec)]
        except (NotMeasured, EngineError) as reason:
            return RequestOmission(subject, model.synthetic, str(reason))
        answers = tuple(answer for answers, _ in rounds for answer in answers)
        times = tuple(RequestRound(seconds, sum(a.work for a in answers)) for answers, seconds in rounds)
        return RequestSeries(subject, model.synthetic, unit_of_work(model.spec.task), answers, times)

    async def make_room_after(self, model: ModelName) -> None:
        """Have it off its device, so that nobody waits for its place."""
        with suppress(NotMeasured):  # the figures stand, whether it has left or not
            await self._switching.take_off(model)

    async def _rounds(
        self, subject: RequestSubject, spec: ModelSpec
    ) -> AsyncIterator[tuple[tuple[RequestTimes, ...], float]]:
        """Of each round its answers, and the seconds that it took."""
        self._show(RequestProgress(subject, "warming up"))
        # Before cold ones, too: it prepares, if need be, and each of them begins with taking the model off.
        if not (await self._switching.state()).of(spec.name):
            await self._switching.load(spec.name, None)
        for _ in range(self._mix.warm_up):
            await self._together(subject.at_once, spec)
        for number in range(1, self._mix.rounds + 1):
            self._show(RequestProgress(subject, f"{number} of {self._mix.rounds}"))
            if subject.cold:
                await self._switching.take_off(spec.name)
                await self._switching.agreed_plan(Load(spec.name))
            began_s = time.monotonic()
            answers = await self._together(subject.at_once, spec)
            yield answers, time.monotonic() - began_s

    async def _together(self, requests: int, spec: ModelSpec) -> tuple[RequestTimes, ...]:
        sent = [asyncio.create_task(timed(self._api, spec.name, self._task(spec))) for _ in range(requests)]
        try:
            return tuple(await asyncio.gather(*sent))
        finally:
            for one in sent:
                one.cancel()
            await asyncio.gather(*sent, return_exceptions=True)  # nothing of a round that broke runs on into the next

    def _task(self, spec: ModelSpec) -> Task:
        """No two of them are the same."""
        text = f"{_TEXT} {next(self._numbers)}"
        tokens = max(1, min(self._mix.most_tokens, spec.limits.max_sequence // 2))
        return sample_task(spec.task, lambda _: text, 1 if spec.task != "generation" else tokens, 1, tokens)


async def measure_requests(
    api: EngineAPI,
    before: State,
    models: Sequence[ModelName],
    agreed: Collection[Resident],
    mix: RequestMix,
    watcher: Watcher[RequestProgress, RequestSeries | RequestOmission],
) -> None:
    """Send `mix` to each of `models`, for which the `agreed` residents may leave, while the engine keeps quiet, and bring back
    the state `before`. Cancelling it puts everything back too. Raises EngineError.
    """
    bench = RequestBench(api, mix, {resident.model for resident in agreed} | {*models}, watcher.progress)
    try:
        async with kept_quiet(api) as sample_s:
            watcher.quietened(sample_s)
            for model in models:
                for subject in mix.subjects((model,)):
                    watcher.measured(await bench.measure(subject))
                await bench.make_room_after(model)
    finally:
        watcher.putting_back()
        for trouble in await put_back(api, before):
            watcher.not_put_back(trouble)


def requests_run_of(
    version: str,
    at_s: float,
    after: State,
    mix: str,
    results: Sequence[RequestSeries | RequestOmission],
    sample_s: float | None = None,
) -> RequestsResult:
    """The run of an engine of this version that began at `at_s`, with the facts of this machine. `sample_s`: seconds between two
    readings of a device meanwhile, where the engine was asked to keep quiet."""
    return RequestsResult(
        REQUESTS_VERSION,
        at_s,
        version,
        replace(this_machine(after.devices.values()), sample_s=sample_s),
        mix,
        tuple(result for result in results if isinstance(result, RequestSeries)),
        tuple(result for result in results if isinstance(result, RequestOmission)),
    )
