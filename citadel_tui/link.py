"""The console's line to the engine: follows its events, keeps only the newest snapshot, and reconnects by itself.

It draws nothing and decides nothing. The app runs it as one worker and takes what is new from it on one timer. Commands go over
the same line, through a `ReliableEngine`: it may break between a command and its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, assert_never

from citadel_tui.flow import StatusMessage
from citadel_tui.lives import follows, since_s
from citadel_tui.timeline.chronicle import Chronicle, take_up
from citadel_tui.viewmodel.history import BUCKET_S, GraphHistory, with_snapshot
from citadel_tui.viewmodel.model_colours import ModelColours
from citadel_tui.viewmodel.scene import Lost, Scene
from citadel_tui.words.alerts import KEPT_RECORDS, Alert, gone_with
from engine.api import Answer, EngineAPI, EngineError, EngineUnreachable, Event, Hello, Recorded, Snapshot, Updated
from engine.core.commands import Command, Submission, command_text
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.records import Record

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0

Connect: TypeAlias = Callable[[], Awaitable[EngineAPI]]
Sleep: TypeAlias = Callable[[float], Awaitable[None]]


class StartedOver(EngineError):
    """What the engine shows begins anew, as when a recorded session is wound back: connect again at once."""


class Link:
    """Newest snapshot, newest records, the last hour, and whether the engine answers."""

    def __init__(
        self,
        connect: Connect,
        now: Callable[[], float],
        *,
        read_only: bool,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._now = now
        self._monotonic = monotonic
        self._heard_s = self._shown_s = monotonic()
        """When the engine gave its last sign of life, and when its newest snapshot came."""
        self._sleep = sleep
        self._read_only = read_only
        self._api: EngineAPI | None = None
        self._hello: Hello | None = None
        self._snapshot: Snapshot | None = None
        self._records: tuple[Record, ...] = ()
        self._lost: Lost | None = None
        self._gone: Alert | None = None
        self._history = GraphHistory()
        self._colours = ModelColours()
        self._past = Chronicle()
        self._past_is_whole = False
        self._looked: tuple[Snapshot | None, int] = (None, 0)
        self._pause_s = FIRST_PAUSE_S
        self._connected = asyncio.Event()
        self.connections = 0
        """How many there have been, the present one included."""
        self.changed = asyncio.Event()
        """Set when there is something new; whoever takes the scene clears it."""

    @property
    def engine(self) -> EngineAPI:
        """The engine, for commands. Raises EngineUnreachable while there is none."""
        if self._api is None:
            raise EngineUnreachable("there is no line to the engine; nothing was sent")
        return self._api

    async def connection_after(self, number: int) -> EngineAPI:
        """The engine, over a later connection than that with this number; waits for it."""
        while self._api is None or self.connections <= number:
            await self._connected.wait()
        return self._api

    @property
    def hello(self) -> Hello | None:
        """Who answers, or answered last."""
        return self._hello

    def scene(self) -> Scene:
        """What is known now."""
        self._listen()
        return Scene(
            self._now(),
            self._hello,
            self._snapshot,
            self._records,
            self._lost,
            self._read_only,
            self._history,
            self._colours,
            self._past,
            self._monotonic() - self._heard_s,
            self._monotonic() - self._shown_s,
            self._gone,
        )

    def _listen(self) -> None:
        """Note the last sign of life. One of an engine that has not begun to tell what goes on makes nothing newer."""
        if self._api is not None and self._lost is None:
            self._heard_s = self._monotonic() - self._api.silent_s

    def remember(self) -> None:
        """Add what goes on now to the history; while nothing is heard nothing is known, and nothing is added."""
        if self._snapshot is not None and not self.scene().stale and self._has_news(self._snapshot):
            self._history = with_snapshot(self._history, self._snapshot, self._now())
            if not self._past_is_whole:
                self._past.showed(self._snapshot)

    def _has_news(self, snapshot: Snapshot) -> bool:
        """Whether it was not looked at yet, or time has moved the history on since."""
        look = (snapshot, int(self._now() // BUCKET_S))
        is_new = self._looked[0] is not snapshot or self._looked[1] != look[1]
        self._looked = look
        return is_new

    def take_past(self, past: Chronicle, *, whole: bool = False) -> None:
        """A longer past than what came over the line. One that is not `whole` must end with a record that the engine has at hand,
        or it is another engine's; what came since is added."""
        after = _after(past.last, self._records)
        if whole or after is not None:
            for record in after or ():
                past.record(record)
            self._past, self._past_is_whole = past, whole
            self._looked = (None, 0)

    async def run(self) -> None:
        """Follow the engine until cancelled, reconnecting with growing pauses."""
        while True:
            try:
                await self._follow(await self._connect())
            except StartedOver:
                continue
            except EngineError as error:
                self._lose(str(error))
            await self._sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    async def _follow(self, api: EngineAPI) -> None:
        try:
            before, hello = self._hello, await api.hello()
            self._meet(hello)
            # Before the events, which begin after the last of these: a record that comes between the two calls is not missed.
            self._records = await api.records(KEPT_RECORDS)
            self._tell_past(hello, is_new=before is None or not follows(hello, before))
            self._be_connected(api)
            async for event in api.events(after=self._records[-1].seq if self._records else 0):
                self._take(event)
            raise EngineUnreachable("the engine closed the line")
        finally:
            self._listen()
            self._api = None
            await api.close()

    def _meet(self, hello: Hello) -> None:
        """Note who answers; and when that is another engine, what has gone with the one before it."""
        before, self._hello = self._hello, hello
        if before is not None and self._snapshot is not None and not follows(hello, before):
            ended_s = self._now() - (self._monotonic() - self._heard_s)
            text = f"the engine (process {before.pid}) went, and {gone_with(self._snapshot)}"
            self._gone = Alert(f"engine {before.pid} {before.started_at_s}", text, "error", ended_s, hello.started_at_s)

    def _be_connected(self, api: EngineAPI) -> None:
        self._api = api
        self.connections += 1
        self._connected.set()
        self._connected = asyncio.Event()

    def _take(self, event: Event) -> None:
        # Only now: a line that breaks as soon as it is up counts as broken all the while, and the pauses go on growing.
        self._lost = None
        self._pause_s = FIRST_PAUSE_S
        match event:
            case Updated(snapshot=snapshot):
                self._snapshot, self._shown_s = snapshot, self._monotonic()
                self._colours = self._colours.with_models(snapshot.state.models)
            case Recorded(record=record):
                if not self._records or record.seq > self._records[-1].seq:
                    self._records = (*self._records, record)[-KEPT_RECORDS:]
                    if not self._past_is_whole:
                        self._past.record(record)
            case _:
                assert_never(event)
        self.changed.set()

    def _tell_past(self, hello: Hello, *, is_new: bool) -> None:
        """What happened before the line was up; from the beginning where it is not known how that follows what was told."""
        if self._past_is_whole:
            return
        after = _after(self._past.last, self._records)
        if after is None:
            self._past, after, is_new = Chronicle(), self._records, True
            self._looked = (None, 0)
        if is_new:
            take_up(self._past, after, since_s(hello))
        else:
            for record in after:
                self._past.record(record)

    def _lose(self, why: str) -> None:
        self._lost = Lost(why)
        self.changed.set()


def _after(last: Record | None, records: tuple[Record, ...]) -> tuple[Record, ...] | None:
    """The records behind `last`; None where it is not among them."""
    at = next((at for at, record in enumerate(records, 1) if last and record.seq == last.seq and record == last), None)
    return None if at is None else records[at:]


class ReliableEngine:
    """`flow.CommandEngine` over a line that may break: a command whose answer was lost is sent again, under its id."""

    def __init__(self, link: Link, say: Callable[[StatusMessage], None]) -> None:
        self._link = link
        self._say = say

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        return await self._link.engine.plan(command, now=now)

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        return await self._link.engine.propose(wish)

    async def submit(self, submission: Submission) -> Answer:
        """The answer, however often the line breaks before it comes.

        Raises EngineUnreachable when another engine answers then, or when this one answers everything but the command.
        """
        # Nobody can tell whether a command whose answer was lost was carried out. Sending it again is safe: the engine knows
        # its id, and answers a second time with what came of the first. Another engine, after a restart, doesn't: it would
        # carry the command out twice, so it is never asked.
        what = command_text(submission.command)
        engine, asked, refused = self._link.engine, self._link.hello, False
        while True:
            # Taken before the call: by the time that it fails, the link may have reconnected already, and a number taken
            # then would make this wait for a connection after the one that is up.
            connection = self._link.connections
            try:
                return await engine.submit(submission)
            except EngineUnreachable:
                if await _answers(engine):
                    # Each call has a connection of its own, and this one alone was cut. Once may be an accident.
                    if refused:
                        raise
                    refused = True
                    continue
            self._say(StatusMessage(f"{what}: the line broke; asking again when it is back", "warn"))
            engine, refused = await self._link.connection_after(connection), False
            now = self._link.hello
            if asked is None or now is None or not follows(now, asked):
                raise EngineUnreachable(
                    "the engine that had it has ended, and another one runs; the log shows what became of it"
                )


async def _answers(engine: EngineAPI) -> bool:
    """Whether only the one call was lost, and not the line."""
    try:
        await engine.hello()
    except EngineUnreachable:
        return False
    return True
