"""Fleets for tests: scripted engines behind links in this process, which a test can silence, cut and mend."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from engine.api import PROTOCOL, EngineAPI, EngineUnreachable, Event, Hello, Snapshot
from engine.clock import Clock, SystemClock
from engine.core.names import BoxName
from engine.core.tasks import RunEvent, Task
from fleet.core.view import Rules
from fleet.engine import FleetEngine
from fleet.following import Boxed, Following
from fleet.links import NodeLink, link_to_socket
from tests.scripted_engine import ScriptedEngine

_T = TypeVar("_T")


class Line:
    """A link to an engine of this process; `silence`, `cut` and `mend` are what a test does to it."""

    def __init__(self, engine: EngineAPI, clock: Clock | None = None) -> None:
        self.engine = engine
        self.protocol = PROTOCOL
        self.address = ""
        """Where other boxes reach it."""
        self.calls: list[str] = []
        """What was asked, in order."""
        self._clock = clock or SystemClock()
        self._cut = ""
        self._silent_since_s: float | None = None
        self._broken: asyncio.Event = asyncio.Event()
        self._heard: asyncio.Event = asyncio.Event()
        self._heard.set()

    def cut(self, why: str = "the box was switched off") -> None:
        """Nobody is there any more."""
        self._cut = why
        self._broken.set()

    def mend(self) -> None:
        """It is there again, and says what it kept back."""
        self._cut, self._silent_since_s = "", None
        self._broken = asyncio.Event()
        self._heard.set()

    def silence(self) -> None:
        """It takes whatever is sent, and says nothing."""
        self._silent_since_s = self._clock.monotonic()
        self._heard = asyncio.Event()

    @property
    def silent_s(self) -> float:
        return 0.0 if self._silent_since_s is None else self._clock.monotonic() - self._silent_since_s

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[NodeLink]:
        yield self

    async def reached_at(self) -> str:
        return self.address

    async def hello(self) -> Hello:
        hello: Hello = await self._asked("hello", self.engine.hello())
        return replace(hello, protocol=self.protocol, pid=id(self.engine))  # all scripted ones say the same

    async def events(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        events = self.engine.events(after)
        assert isinstance(events, AsyncGenerator)
        async with contextlib.aclosing(events):
            while True:
                yield await self._asked("event", anext(events))

    async def run(self, model: str, task: Task) -> AsyncGenerator[RunEvent, None]:
        async with contextlib.aclosing(self.engine.run(model, task)) as events:
            while True:
                try:
                    yield await self._asked("run", anext(events))
                except StopAsyncIteration:
                    return

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - every other method of the engine, as it is
        method = getattr(self.engine, name)

        async def asked(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            return await self._asked(name, method(*arguments, **named))

        return asked

    async def _asked(self, what: str, answer: Any) -> Any:  # noqa: ANN401
        self.calls.append(what)
        asked = asyncio.ensure_future(answer)
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({asked, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not self._cut and not self._heard.is_set():
                heard = asyncio.ensure_future(self._heard.wait())
                await asyncio.wait({heard, broken}, return_when=asyncio.FIRST_COMPLETED)
                heard.cancel()
            if self._cut:
                raise EngineUnreachable(self._cut)
            return await asked
        finally:
            asked.cancel()
            broken.cancel()
            await asyncio.gather(asked, broken, return_exceptions=True)


class Reached(Protocol):
    """A box of a fleet."""

    def open(self) -> AbstractAsyncContextManager[NodeLink]: ...


class At(NamedTuple):
    """A box whose engine listens at a socket."""

    socket: Path

    def open(self) -> AbstractAsyncContextManager[NodeLink]:
        return link_to_socket(self.socket)


@contextlib.asynccontextmanager
async def fleet_of(
    lines: Mapping[BoxName, Reached], clock: Clock | None = None, rules: Rules | None = None, seed: int = 1
) -> AsyncIterator[FleetEngine]:
    """A fleet of these boxes, in this order, that has heard each of them that answers; it is reloaded with those that are there
    then."""
    clock = clock or SystemClock()
    following = Following(clock)

    async def read_again() -> tuple[str, ...]:
        following.adopt([Boxed(name, line.open) for name, line in lines.items()], rules or Rules())
        return ()

    await read_again()
    hello = Hello(PROTOCOL, "0", "fleet-host", 1, clock.now(), "/etc/citadel/fleet.yaml")
    fleet = FleetEngine(hello, following, clock, Random(seed), read_again)
    await following.met()
    try:
        yield fleet
    finally:
        await fleet.stop()


def scripted_lines(count: int = 3, clock: Clock | None = None) -> dict[BoxName, Line]:
    """box1, box2, …, each with a scripted engine."""
    return {f"box{number}": Line(ScriptedEngine(), clock) for number in range(1, count + 1)}


def engine_of(line: Line) -> ScriptedEngine:
    assert isinstance(line.engine, ScriptedEngine)
    return line.engine


async def until(fleet: FleetEngine, met: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot of the fleet for which that holds."""
    events = fleet.events()
    async with contextlib.aclosing(events):
        async for event in events:
            snapshot = getattr(event, "snapshot", None)
            if isinstance(snapshot, Snapshot) and met(snapshot):
                return snapshot
    raise AssertionError("the fleet ended first")
