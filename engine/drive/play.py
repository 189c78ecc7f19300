"""Sends calls when they are due, many in flight, and notes how each ended; late answers delay no other call. Meanwhile the engine
is watched: every switch that it records, and how full its GPUs are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from msgspec import Struct

from engine.api import EngineAPI, EngineError, EngineUnreachable, Event, Recorded, Snapshot, Updated
from engine.bench.request_records import RequestTimes
from engine.bench.requests import timed
from engine.core.insight.budget_use import BudgetMeter, gpus_share
from engine.core.insight.fullest import Fullest, fullest
from engine.core.ledger import budget
from engine.core.names import DeviceId, ModelName
from engine.core.planning.placement import gpus
from engine.core.records import Switch
from engine.core.state import State
from engine.drive.calls import Call

MOST_IN_FLIGHT: Final = 256
"""Calls beyond it wait here; their delay counts from when they were due all the same."""


class Ended(Struct, frozen=True):
    """A call that was answered, or was not."""

    model: ModelName
    due_at_s: float
    """Seconds since the epoch."""
    delay_s: float
    """From when it was due until its answer was here."""
    times: RequestTimes | None = None
    """What its client saw; None when it failed."""
    failure: str = ""

    @property
    def device(self) -> DeviceId | None:
        """Where it ran; None when it failed."""
        return self.times.device if self.times else None


class PlayProgress(Struct, frozen=True):
    """How far a play is."""

    sent: int
    ended: int
    failed: int


class Player:
    """One play of `calls` against `api`. `stop` ends it in order: nothing more is sent, what runs is waited for."""

    def __init__(self, api: EngineAPI, calls: Sequence[Call], show: Callable[[PlayProgress], None]) -> None:
        self._api: Final = api
        self._calls: Final = calls
        self._show: Final = show
        self._slots: Final = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._stopping: Final = asyncio.Event()
        self._ended: list[Ended] = []
        self._sent = 0

    def stop(self) -> None:
        self._stopping.set()

    async def play(self) -> tuple[Ended, ...]:
        """The calls that were sent, in the order in which they ended."""
        began_s, began_at_s = time.monotonic(), time.time()
        async with asyncio.TaskGroup() as tasks:
            for call in self._calls:
                if await self._stopped_before(began_s + call.due_s):
                    break
                await self._slots.acquire()
                self._sent += 1
                tasks.create_task(self._make(call, began_s + call.due_s, began_at_s + call.due_s))
                self._tell()
        return tuple(self._ended)

    async def _stopped_before(self, due_s: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, due_s - time.monotonic())):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def _make(self, call: Call, due_s: float, due_at_s: float) -> None:
        """`due_s` is of the steady clock."""
        times, failure = None, ""
        try:
            times = await timed(self._api, call.model, call.task, due_s)
        except EngineUnreachable as lost:
            failure = str(lost)
            self.stop()
        except EngineError as error:
            failure = str(error)
        finally:
            self._slots.release()
        self._ended.append(Ended(call.model, due_at_s, time.time() - due_at_s, times, failure))
        self._tell()

    def _tell(self) -> None:
        failed = sum(bool(ended.failure) for ended in self._ended)
        self._show(PlayProgress(self._sent, len(self._ended), failed))


class Watch:
    """Follows `api` until cancelled, or until the engine goes."""

    def __init__(self, api: EngineAPI) -> None:
        self._api: Final = api
        self._seq = 0
        self._changed = asyncio.Event()
        self.lost = ""
        """Why the engine went, when it did."""
        self.switches: list[Switch] = []
        self.all_along: Final = BudgetMeter()
        self.pressed: Final = BudgetMeter()
        """From the first eviction for want of room on."""
        self._state: State | None = None
        """As it was last."""

    def could_have_filled(self, ended: Sequence[Ended]) -> Fullest | None:
        """How full the GPUs could have been for these requests; None before the engine has told of itself."""
        if self._state is None:
            return None
        sizes = {name: known.footprint.total_bytes for name, known in self._state.models.items()}
        budgets = {device: budget(self._state, device) for device in gpus(self._state)}
        return fullest(Counter(one.model for one in ended), sizes, budgets)

    async def follow(self) -> None:
        try:
            self._seq = await self._newest_seq()
            async for event in self._api.events(self._seq):
                self._note(event)
                self._changed.set()
        except EngineUnreachable as gone:
            self.lost = str(gone)
            self._changed.set()

    async def caught_up(self) -> None:
        """Wait until `follow`, which must be running, has seen all that is recorded by now. Not for an engine that has gone."""
        with contextlib.suppress(EngineUnreachable):
            newest = await self._newest_seq()
            while self._seq < newest and not self.lost:
                self._changed.clear()
                await self._changed.wait()

    def _note(self, event: Event) -> None:
        match event:
            case Updated(snapshot):
                self._state = snapshot.state
                self._note_share(snapshot)
            case Recorded(record):
                self._seq = record.seq
                if isinstance(record.entry, Switch):
                    self.switches.append(record.entry)
            case _:
                assert_never(event)

    async def _newest_seq(self) -> int:
        newest = await self._api.records(1)
        return newest[-1].seq if newest else 0

    def _note_share(self, snapshot: Snapshot) -> None:
        share = gpus_share(snapshot.state)
        if share is None:
            return
        self.all_along.note(share, snapshot.at_s)
        if any(switch.plan.victims for switch in self.switches):
            self.pressed.note(share, snapshot.at_s)
