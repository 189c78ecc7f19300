"""Follows each request from the call to its end, for the figures that snapshots have of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

from engine.api import DeadlinePassed, EngineError, Overloaded, RunStopped
from engine.clock import Clock
from engine.core.insight.request_figures import (
    RENEWED_S,
    Asker,
    Outcome,
    RequestFigures,
    RequestLog,
    RequestsUnderWay,
    RequestUnderWay,
)
from engine.core.insight.why import why_on_cpu
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.state import State
from engine.core.tasks import Continuation, RunEvent, RunResult, Task, TaskResult
from engine.runtime.history import HISTORY_RECORDS, History

Granted: TypeAlias = Callable[[DeviceId], None]
"""To be called when a request gets a device, each time that it does."""
Begin: TypeAlias = Callable[[int, Granted], AsyncGenerator[RunEvent, None]]
"""Begins the run of the request with this number."""


class RunFacts:
    """What there is to say of a request beside its answer, from when it came."""

    def __init__(self, model: ModelName, clock: Clock, history: History, state: State) -> None:
        self._model: Final = model
        self._clock: Final = clock
        self._history: Final = history
        self._began_s: Final = clock.monotonic()
        self._waits_for_load = not any(r.stage in ("ready", "draining") for r in state.of(model))
        self._synthetic: Final = state.models[model].synthetic
        self._loaded_s: float | None = None

    def granted(self, then: Granted) -> Granted:
        """To be called when it gets a device; calls `then`."""

        def granted(device: DeviceId) -> None:
            if self._waits_for_load:
                self._waits_for_load, self._loaded_s = False, self._clock.monotonic() - self._began_s
            then(device)

        return granted

    def ended(self, device: DeviceId, result: TaskResult) -> RunResult:
        """The last thing that it is told."""
        fallback = why_on_cpu(self._history.newest(HISTORY_RECORDS), self._model) if device == CPU else ""
        seconds = self._clock.monotonic() - self._began_s
        return RunResult(self._model, device, result, seconds, self._synthetic, self._loaded_s, fallback)


class RequestWatch:
    """Listens in, and changes nothing of what is said."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._log: Final = RequestLog()
        self._numbers: Final = itertools.count(1)
        self._heard: Final = asyncio.Event()
        """Set when a request has come or ended."""
        self._told: dict[ModelName, RequestFigures] = {}
        """Of which `renew` called last."""

    async def follow(self, model: ModelName, task: Task, asker: Asker, run: Begin) -> AsyncGenerator[RunEvent, None]:
        """All that `run` says."""
        number, is_granted = next(self._numbers), False
        outcome: Outcome = "left"  # where nobody iterates any more
        result: RunResult | None = None

        def granted(device: DeviceId) -> None:
            nonlocal is_granted
            is_granted = True
            self._log.granted(number, device, self._clock.monotonic())

        self._log.asked(number, model, task, asker, self._clock.monotonic())
        self._heard.set()
        try:
            async with aclosing(run(number, granted)) as events:
                async for event in events:
                    if isinstance(event, RunResult):
                        # It has ended now, not when whoever has the result goes on.
                        outcome, result = "answered", event
                        break
                    self._log.said(number, self._clock.monotonic())
                    yield event
        except EngineError as error:
            outcome = _outcome_of(error, ran=is_granted)
            raise
        finally:
            self._log.ended(number, outcome, _work_done(task, result), self._clock.monotonic())
            self._heard.set()
        if result is not None:
            yield result

    def figures(self) -> dict[ModelName, RequestFigures]:
        """Of each model that was asked for."""
        return self._log.figures(self._clock.monotonic())

    def under_way(self) -> RequestsUnderWay:
        """Requests that have not ended, one by one."""
        return self._log.under_way(self._clock.monotonic())

    def one_under_way(self, number: int) -> RequestUnderWay | None:
        """None where it has ended, or never was."""
        return self._log.one_under_way(number, self._clock.monotonic())

    async def renew(self, tell: Callable[[], None], is_quiet: Callable[[], bool]) -> None:
        """Call `tell` once a second while figures change, until cancelled; never while the engine keeps quiet."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            is_moving = True
            while is_moving:
                await self._clock.sleep(RENEWED_S)
                if not is_quiet() and self._told != (figures := self.figures()):
                    self._told = figures
                    tell()
                is_moving = self._log.is_moving(self._clock.monotonic())


def _work_done(task: Task, ran: RunResult | None) -> int:
    """Rows, or tokens written."""
    if ran is None:
        return 0
    return ran.result.tokens if isinstance(ran.result, Continuation) else task.work


def _outcome_of(error: EngineError, *, ran: bool) -> Outcome:
    match error:
        case DeadlinePassed() | RunStopped():
            return "left"
        case Overloaded():
            return "refused"
        case _:
            return "failed" if ran else "refused"
