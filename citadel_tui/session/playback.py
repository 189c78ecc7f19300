"""A recorded session as an engine that may only be watched: time stands, runs faster, or goes back as the operator likes."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable
from typing import Final

from citadel_tui.link import StartedOver
from citadel_tui.session.file import Session
from engine.api import (
    Answer,
    EngineAPI,
    EngineError,
    Event,
    Hello,
    ReadOnly,
    Recorded,
    Snapshot,
    Updated,
)
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Submission
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.records import Record
from engine.core.tasks import RunEvent, Task

SPEEDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 60.0)
_PAST: Final = "this is a recorded session; nothing can be changed in it"


class Playback:
    """Where in the session the console is, and how fast it goes on."""

    def __init__(self, session: Session, monotonic: Callable[[], float], speed: float = 1.0) -> None:
        self.session: Final = session
        self.began_s: Final = session.times_s[0]
        self.ends_s: Final = session.times_s[-1]
        self.paused = False
        self.speed = speed
        self.turns = 0
        """How often the operator has gone back."""
        self._monotonic = monotonic
        self._position_s, self._since_s = self.began_s, monotonic()
        self._steered = asyncio.Event()

    def now_s(self) -> float:
        """The recorded moment that is shown, seconds since the epoch."""
        went_s = 0.0 if self.paused else (self._monotonic() - self._since_s) * self.speed
        return min(self._position_s + went_s, self.ends_s)

    def pause(self) -> None:
        """Stand still, or go on."""
        self._hold()
        self.paused = not self.paused
        self._tell()

    def seek(self, seconds: float) -> None:
        """Go forward, or back when negative, within the session."""
        self._hold()
        target_s = min(max(self._position_s + seconds, self.began_s), self.ends_s)
        if target_s < self._position_s:
            self.turns += 1
        self._position_s = target_s
        self._tell()

    def faster(self) -> None:
        self._set_speed(next((s for s in SPEEDS if s > self.speed), self.speed))

    def slower(self) -> None:
        self._set_speed(next((s for s in reversed(SPEEDS) if s < self.speed), self.speed))

    def reached(self) -> int:
        """How many of the session's lines have come by now."""
        return bisect_right(self.session.times_s, self.now_s())

    async def until_line(self, number: int) -> None:
        """Wait until that line may have come, or the operator has steered."""
        if self.reached() > number:
            return
        steered = self._steered
        delay_s: float | None = None
        if number < len(self.session.times_s) and not self.paused:
            delay_s = max(self.session.times_s[number] - self.now_s(), 0.0) / self.speed
        try:
            async with asyncio.timeout(delay_s):
                await steered.wait()
        except TimeoutError:
            return

    def _set_speed(self, speed: float) -> None:
        self._hold()
        self.speed = speed
        self._tell()

    def _hold(self) -> None:
        """Make now the moment from which time is counted."""
        self._position_s, self._since_s = self.now_s(), self._monotonic()

    def _tell(self) -> None:
        self._steered.set()
        self._steered = asyncio.Event()


class RecordedEngine(EngineAPI):
    """`EngineAPI` over a playback. Whatever would change something raises ReadOnly."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._session = playback.session

    async def hello(self) -> Hello:
        return self._session.head.hello

    async def snapshot(self) -> Snapshot:
        newest = self._newest_snapshot(0, self._playback.reached())
        if newest is None:
            raise EngineError("the session has no snapshot yet at this moment")
        return newest

    async def events(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Raises StartedOver when the operator goes back: what was shown lies in the future then."""
        turns, seen = self._playback.turns, 0
        told = after or 0
        while self._playback.turns == turns:
            reached = self._playback.reached()
            if newest := self._newest_snapshot(seen, reached):
                yield Updated(newest)
            for record in self._records(seen, reached):
                if record.seq > told:
                    yield Recorded(record)
            seen = max(seen, reached)
            if self._playback.turns == turns:
                await self._playback.until_line(seen)
        raise StartedOver

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        known = (*self._session.head.records, *self._records(0, self._playback.reached()))
        return known[-limit:] if limit > 0 else ()

    async def requests(self) -> RequestsUnderWay:
        raise EngineError("a recorded session tells of requests by their figures only, not one by one")

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        raise ReadOnly(_PAST)

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        raise ReadOnly(_PAST)

    async def submit(self, submission: Submission) -> Answer:
        raise ReadOnly(_PAST)

    async def cancel(self, submission_id: str) -> bool:
        raise ReadOnly(_PAST)

    def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        raise ReadOnly(_PAST)

    async def cancel_request(self, number: int) -> RequestUnderWay:
        raise ReadOnly(_PAST)

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None:
        raise ReadOnly(_PAST)

    async def reload(self) -> CatalogChange:
        raise ReadOnly(_PAST)

    async def keep_quiet(self, for_s: float) -> float:
        raise ReadOnly(_PAST)

    async def restart_worker(self, device: DeviceId) -> None:
        raise ReadOnly(_PAST)

    async def stop(self, *, now: bool = False) -> None:
        raise ReadOnly(_PAST)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _newest_snapshot(self, begin: int, end: int) -> Snapshot | None:
        for number in range(end - 1, begin - 1, -1):
            if isinstance(event := self._session.event(number), Updated):
                return event.snapshot
        return None

    def _records(self, begin: int, end: int) -> list[Record]:
        records = self._session.record_lines
        numbers = records[bisect_left(records, begin) : bisect_left(records, end)]
        events = (self._session.event(number) for number in numbers)
        return [event.record for event in events if isinstance(event, Recorded)]
