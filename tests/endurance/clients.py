"""Many clients at once: each asks now this model, now that one, checks every answer, and sometimes leaves before it comes."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from random import Random
from typing import Final

import pytest
from msgspec import Struct

from engine.api import CannotServe, EngineAPI
from engine.core.names import ModelName
from engine.core.tasks import (
    Continuation,
    Generate,
    LabelScores,
    RunResult,
    Scores,
    Task,
    TaskResult,
    TextPart,
    Vectors,
)

LEAVING: Final = 0.25
"""The share of requests that nobody waits for to the end."""
_WORKER_LOST: Final = re.compile(r"worker of \S+ |not answering")
"""What a request is told whose worker was killed or hung."""


class Ask(Struct, frozen=True):
    """A request, and what comes of it on an idle engine."""

    model: ModelName
    task: Task
    alone: TaskResult


class Crowd:
    """Clients of one engine."""

    def __init__(self, engine: EngineAPI, asks: Sequence[Ask], may_go_on: Callable[[int], bool]) -> None:
        self._engine: Final = engine
        self._asks: Final = asks
        self._may_go_on: Final = may_go_on
        """Told how many requests have ended."""
        self._ended: asyncio.Event = asyncio.Event()
        """Set, and replaced by another, with the end of each request."""
        self.counts: Final = Counter[str]()
        """Requests that were answered, left, and lost with their worker."""
        self._is_over = False
        self.longest_s = 0.0
        """That anybody waited for an answer."""

    async def run(self, clients: int) -> None:
        """Until they may not go on. Raises what is wrong with an answer, and every refusal but that of a lost worker."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(self._client(Random(number)))
        self._is_over = True
        self._ended.set()

    async def until_ended(self, count: int) -> bool:
        """Wait until so many requests have ended; False when there will be no more."""
        while self.counts.total() < count and not self._is_over:
            await self._ended.wait()
        return not self._is_over

    async def _client(self, random: Random) -> None:
        while self._may_go_on(self.counts.total()):
            ask = random.choice(self._asks)
            leaves = random.random() < LEAVING
            try:
                how = await (self._leave(ask, random.randrange(3)) if leaves else self._answer(ask))
            except CannotServe as refusal:
                if not _WORKER_LOST.search(str(refusal)):
                    raise
                how = "lost"
            self.counts[how] += 1
            self._ended.set()
            self._ended = asyncio.Event()

    async def _answer(self, ask: Ask) -> str:
        began_s = time.monotonic()
        ran = await self._engine.result(ask.model, ask.task)
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        assert_same(ran, ask)
        return "answered"

    async def _leave(self, ask: Ask, after: int) -> str:
        """After so many parts of a text; of what has no parts, once somebody else's request has ended."""
        if isinstance(ask.task, Generate):
            async with aclosing(self._engine.run(ask.model, ask.task)) as events:
                for _ in range(after):
                    assert isinstance(await anext(events), TextPart)
            return "left"
        asking = asyncio.create_task(self._answer(ask))
        other = asyncio.create_task(self._ended.wait())
        await asyncio.wait({asking, other}, return_when=asyncio.FIRST_COMPLETED)
        other.cancel()
        asking.cancel()
        await asyncio.gather(asking, other, return_exceptions=True)
        return "left" if asking.cancelled() else asking.result()


def assert_same(ran: RunResult, ask: Ask) -> None:
    """It is what comes of the request on an idle engine."""
    assert ran.model == ask.model
    match ran.result, ask.alone:
        case Vectors() as made, Vectors() as alone:
            assert made.rows() == [pytest.approx(row, abs=1e-6) for row in alone.rows()]
        case Continuation() as wrote, Continuation() as alone:
            assert (wrote.text, wrote.tokens, wrote.ended) == (alone.text, alone.tokens, alone.ended)
        case Scores() as found, Scores() as alone:
            assert found.scores == pytest.approx(alone.scores, abs=1e-6)
        case LabelScores() as found, LabelScores() as alone:
            assert found.scores == tuple(pytest.approx(row, abs=1e-6) for row in alone.scores)
        case made, alone:
            raise AssertionError(f"{made} instead of {alone}")
