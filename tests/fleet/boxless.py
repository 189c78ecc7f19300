"""A fleet of one box, seen as that box alone: for tests that know no boxes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from msgspec.structs import replace

from engine.api import EngineAPI, EngineError, Event, Recorded, Snapshot, Updated
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Submission
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay
from engine.core.names import on_box, within_box
from engine.core.records import Record
from engine.core.tasks import RunEvent, Task
from fleet.engine import FleetEngine
from fleet.naming import effects_within, on, within

BOX = "box1"


class Boxless(EngineAPI):
    """`EngineAPI` of the fleet's only box, through the fleet."""

    def __init__(self, fleet: FleetEngine) -> None:
        self._fleet = fleet

    async def hello(self) -> Any:  # noqa: ANN401
        return await self._fleet.hello()

    async def snapshot(self) -> Snapshot:
        return _within(await self._fleet.snapshot())

    async def events(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        begin = None if after is None else ([0, *await self._seqs()])[after]
        async with contextlib.aclosing(self._fleet.events(begin)) as events:
            async for event in events:
                if isinstance(event, Updated):
                    yield Updated(_within(event.snapshot))
                else:
                    yield Recorded(await self._within(event.record))

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return tuple([await self._within(record) for record in await self._fleet.records(limit)])

    async def _within(self, record: Record) -> Record:
        """Numbered 1, 2, …, as an engine does."""
        return replace(within(BOX, record), seq=(await self._seqs()).index(record.seq) + 1)

    async def _seqs(self) -> list[int]:
        return [record.seq for record in await self._fleet.records(1000)]

    async def plan(self, command: Command, *, now: bool = False) -> Any:  # noqa: ANN401
        return within(BOX, await self._fleet.plan(on(BOX, command), now=now))

    async def submit(self, submission: Submission) -> Any:  # noqa: ANN401
        confirmed = None if submission.confirmed is None else _effects_on(submission.confirmed)
        asked = replace(submission, command=on(BOX, submission.command), confirmed=confirmed)
        return within(BOX, await self._fleet.submit(asked))

    async def propose(self, wish: Any) -> Any:  # noqa: ANN401
        return within(BOX, await self._fleet.propose(on(BOX, wish)))

    async def run(self, model: str, task: Task) -> AsyncGenerator[RunEvent, None]:
        async with contextlib.aclosing(self._fleet.run(model, task)) as events:
            async for event in events:
                yield within(BOX, event)

    async def restart_worker(self, device: str) -> None:
        try:
            await self._fleet.restart_worker(on_box(BOX, device))
        except EngineError as error:
            raise EngineError(effects_within(BOX, str(error))) from error

    async def requests(self) -> RequestsUnderWay:
        return await self._fleet.requests()

    async def cancel(self, submission_id: str) -> bool:
        return await self._fleet.cancel(submission_id)

    async def cancel_request(self, number: int) -> RequestUnderWay:
        """The only box is the fleet's first."""
        try:
            return await self._fleet.cancel_request(2 * number + 1)
        except EngineError as error:
            raise EngineError(str(error).replace(f"number {2 * number + 1}:", f"number {number}:")) from error

    async def keep_alive(self, model: str, seconds: float | None) -> None:
        await self._fleet.keep_alive(model, seconds)

    async def reload(self) -> CatalogChange:
        return await self._fleet.reload()

    async def keep_quiet(self, for_s: float) -> float:
        return await self._fleet.keep_quiet(for_s)

    async def stop(self, *, now: bool = False) -> None:
        await self._fleet.stop(now=now)

    async def close(self) -> None:
        await self._fleet.close()


def _effects_on(effects: str) -> str:
    return " ".join(on_box(BOX, word) if word.startswith(("gpu", "cpu")) else word for word in effects.split(" "))


def _within(snapshot: Snapshot) -> Snapshot:
    state = snapshot.state
    return replace(
        snapshot,
        state=replace(
            state,
            devices={within_box(name): within(BOX, known) for name, known in state.devices.items()},
            models={name: within(BOX, known) for name, known in state.models.items()},
            residents=tuple(within(BOX, one) for one in state.residents),
        ),
        budgets={within_box(name): bytes_ for name, bytes_ in snapshot.budgets.items()},
        jobs=tuple(within(BOX, job) for job in snapshot.jobs),
    )
