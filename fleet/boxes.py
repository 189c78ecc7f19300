"""One machine of the fleet: a task of its own follows its engine, so that one that hangs or is gone holds up nobody else.

Nothing that is said of a box waits for it: there is the newest snapshot that it gave, and how long ago that was. Whoever asks it
something is let go as soon as it gives no more signs of life.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn, Protocol, TypeVar

from engine.api import PROTOCOL, EngineError, EngineUnreachable, Hello, OtherVersion, Recorded, Snapshot, Updated
from engine.clock import Clock
from engine.core.boxes import BoxStanding, BoxView
from engine.core.devices import STALE_S
from engine.core.names import BoxName
from engine.core.records import Record
from engine.wire import mismatch
from fleet.history import KEPT_RECORDS
from fleet.links import NodeLink, OpenLink

_T = TypeVar("_T")

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 2.0
_NEWEST: Final = 100
"""Records that may have come of one command, and of what went on beside it."""

_log: Final = logging.getLogger(__name__)


class Heard(Protocol):
    """Who is told what comes from the boxes."""

    def connected(self, box: Box, kept: Sequence[Record]) -> None:
        """The line is up, and this is what its journal has at hand."""

    def updated(self, box: Box) -> None:
        """It gave a snapshot."""

    def recorded(self, box: Box, record: Record) -> None: ...

    def stood(self, box: Box) -> None:
        """Its standing is another."""

    def twin(self, box: Box) -> BoxName | None:
        """Another box that is heard and whose engine is the same."""


class Box:
    """A machine of the fleet, as it was last heard."""

    def __init__(self, name: BoxName, open_link: OpenLink, clock: Clock, heard: Heard) -> None:
        self.name: Final = name
        self.drained = False
        """The operator has it take nothing new."""
        self.ahead_s = 0.0
        """How far our steady clock is ahead of the box's own."""
        self.snapshot: Snapshot | None = None
        self.reached_at = ""
        """Its IP address for other boxes, as far as that is known."""
        self._open_link: Final = open_link
        self._clock: Final = clock
        self._heard: Final = heard
        self._link: NodeLink | None = None
        self._hello: Hello | None = None
        self._heard_s: float | None = None
        """Its last sign of life, on our steady clock."""
        self._went_s = 0.0
        """The same by the wall clock, noted once when it ceased to be ready: worked out anew it would not stay the same."""
        self._standing: BoxStanding = "unreachable"
        self._why = "it has not answered yet"
        self._tried: Final = asyncio.Event()
        self._lost: asyncio.Future[NoReturn] | None = None
        """Ends with why, once it is not ready any more; None while it is not."""

    # ── how it stands ────────────────────────────────────────────────────────────────────────────

    @property
    def standing(self) -> BoxStanding:
        return self._standing

    @property
    def why(self) -> str:
        """Why it is not ready, in words; empty when it is."""
        return self._why

    @property
    def hello(self) -> Hello | None:
        """Who answers, or answered last."""
        return self._hello

    @property
    def is_open(self) -> bool:
        """Whether it may be sent requests."""
        return self._standing == "ready" and not self.drained

    def view(self) -> BoxView:
        """As screens show it, now."""
        silent_s, hello = self._silent_s() or 0.0, self._hello
        return BoxView(
            self._standing,
            self._why,
            self._clock.now() - silent_s if self._standing == "ready" else self._went_s,
            silent_s,
            hello.host if hello else "",
            hello.version if hello else "",
            hello.banner if hello else "",
            self.drained,
            hello.started_at_s if hello else 0.0,
        )

    def look(self) -> None:
        """Notice that it has fallen silent, or is heard again."""
        if self._standing in ("ready", "silent"):
            silent_s = self._silent_s() or 0.0
            if silent_s < STALE_S:
                self._stand("ready", "")
            else:
                self._stand("silent", "it gives no sign of life")

    @property
    def has_tried(self) -> bool:
        """Whether it has answered, or failed to, at least once."""
        return self._tried.is_set()

    async def tried(self) -> None:
        """Wait until it has answered, or failed to, for the first time."""
        await self._tried.wait()

    # ── asking it ────────────────────────────────────────────────────────────────────────────────

    def link(self) -> NodeLink:
        """Raises EngineUnreachable, with why, for a box that is not ready."""
        if self._standing != "ready" or self._link is None:
            raise EngineUnreachable(f"{self.name} is {self._standing}: {self._why}")
        return self._link

    async def ask(self, question: Callable[[NodeLink], Coroutine[Any, Any, _T]]) -> _T:
        """What it answers. Raises EngineUnreachable as soon as it is not ready any more, and whatever it answers with."""
        return await self.until_lost(self._named(question(self.link())))

    async def until_lost(self, work: Awaitable[_T]) -> _T:
        """What comes of `work`, which the box does. Raises EngineUnreachable as soon as it is not ready any more."""
        asked = asyncio.ensure_future(work)
        assert self._lost is not None  # it is ready
        lost: asyncio.Future[Any] = self._lost
        try:
            await asyncio.wait({asked, lost}, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else lost.result()
        finally:
            if not asked.done():  # a generator that is left in the middle can be closed only once it has noticed
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)

    async def catch_up(self) -> None:
        """Hear what follows from a command that it has just answered, so that whoever asked finds it done: news comes up to a
        quarter of a second later."""
        with contextlib.suppress(EngineError):
            self._take(await self.ask(lambda link: link.snapshot()), is_first=False)
            self._heard.connected(self, await self.ask(lambda link: link.records(_NEWEST)))

    async def _named(self, question: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await question
        except EngineUnreachable as error:
            raise EngineUnreachable(f"{self.name}: {error}") from error

    # ── following it ─────────────────────────────────────────────────────────────────────────────

    async def follow(self) -> None:
        """Follow its engine until cancelled, connecting again with growing pauses."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with self._open_link() as link:
                    while True:
                        try:
                            await self._listen(link)
                        except EngineUnreachable as error:
                            pause_s = _FIRST_PAUSE_S if self._link else min(2 * pause_s, _LONGEST_PAUSE_S)
                            self._lose(error)
                        await self._clock.sleep(pause_s)
            except EngineError as error:
                self._lose(error)
            except Exception as error:  # a defect of ours in one box's news must not end the others'
                _log.exception("what %s said could not be taken in", self.name)
                self._lose(error)
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _listen(self, link: NodeLink) -> None:
        """Take what it says. Raises EngineUnreachable when that ends."""
        hello = await link.hello()
        if hello.protocol != PROTOCOL:
            raise OtherVersion(mismatch(str(PROTOCOL), str(hello.protocol)))
        if hello.boxes_since_s is not None:
            raise EngineUnreachable(
                f"a fleet's service answers there, by {hello.config}; a box is an engine, give its own socket"
            )
        kept = await link.records(KEPT_RECORDS)
        self._hello, self.reached_at = hello, await link.reached_at()
        is_first = True
        async with contextlib.aclosing(link.events(kept[-1].seq if kept else 0)) as events:
            async for event in events:
                if is_first:
                    if (twin := self._heard.twin(self)) is not None:
                        raise EngineUnreachable(
                            f"it is the same engine as {twin}, by another way; take one of the two out of fleet.yaml"
                        )
                    self._heard.connected(self, kept)
                match event:
                    case Updated(snapshot):
                        self._take(snapshot, is_first=is_first)
                    case Recorded(record):
                        self._heard.recorded(self, record)
                if is_first:
                    is_first, self._link = False, link
                    self._stand("ready", "")
                    self._tried.set()
        raise EngineUnreachable("its engine has ended the line")

    def _take(self, snapshot: Snapshot, *, is_first: bool) -> None:
        if not is_first and self.snapshot is not None and snapshot.seq < self.snapshot.seq:
            return  # overtaken on the way by one that was asked for
        ahead_s = self._clock.monotonic() - snapshot.mono_s
        # What came fastest tells the clocks' distance best; a later one says only how long it took on the way.
        self.ahead_s = ahead_s if is_first else min(self.ahead_s, ahead_s)
        self.snapshot = snapshot
        self._heard.updated(self)

    def _silent_s(self) -> float | None:
        """Since its last sign of life; None before the first."""
        if self._link is not None:
            self._heard_s = self._clock.monotonic() - self._link.silent_s
        return None if self._heard_s is None else max(0.0, self._clock.monotonic() - self._heard_s)

    def _lose(self, error: Exception) -> None:
        self._silent_s()  # while the line still knows
        self._link = None
        self._stand("other version" if isinstance(error, OtherVersion) else "unreachable", str(error))
        self._tried.set()

    def _stand(self, standing: BoxStanding, why: str) -> None:
        is_news = standing != self._standing
        if is_news and self._standing == "ready":
            self._went_s = self._clock.now() - (self._silent_s() or 0.0)
        self._standing, self._why = standing, why
        if standing == "ready":
            if self._lost is None:
                self._lost = asyncio.get_running_loop().create_future()
        elif self._lost is not None:
            self._lost.set_exception(EngineUnreachable(f"{self.name} is {standing}: {why}"))
            self._lost.exception()  # nobody need have been waiting
            self._lost = None
        if is_news:
            _log.info("%s is %s%s", self.name, standing, f": {why}" if why else "")
            self._heard.stood(self)
