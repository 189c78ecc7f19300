"""The line to a box's engine through Ray: to the box's agent, which carries bytes to the engine's socket and back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import cache, partial
from typing import Any, Final
from uuid import uuid4

from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayError

from engine.api import EngineUnreachable
from engine.client import EngineClient
from engine.core.names import BoxName
from fleet.links import ANSWERS_WITHIN_S, NodeLink
from fleet.ray_agent import LAST, LOST, MORE
from fleet.ray_cluster import Membership
from fleet.ray_driver import RayDriver, attach

_log: Final = logging.getLogger(__name__)


class RayLink(EngineClient):
    """The engine of `box`. `socket` is that of the engine there, where it is not its user's own."""

    def __init__(self, box: BoxName, driver: RayDriver, socket: str = "") -> None:
        super().__init__(_ByAgent(box, driver, socket), answers_within_s=ANSWERS_WITHIN_S)
        self._box: Final = box
        self._driver: Final = driver

    async def reached_at(self) -> str:
        return await self._driver.address(self._box)


@contextlib.asynccontextmanager
async def link_over_ray(box: BoxName, membership: Membership, socket: str = "") -> AsyncIterator[NodeLink]:
    """The engine of a box whose Ray, as this box's own, has joined the fleet's."""
    yield RayLink(box, _driver(membership), socket)


@cache
def _driver(membership: Membership) -> RayDriver:
    """The one of this process."""
    return RayDriver(partial(attach, membership))


class _ByAgent:
    """The way to an engine by its box's agent."""

    def __init__(self, box: BoxName, driver: RayDriver, socket: str) -> None:
        self._box: Final = box
        self._driver: Final = driver
        self._socket: Final = socket
        self._agent: ActorHandle[Any] | None = None

    @property
    def where(self) -> str:
        return f"on {self._box}"

    @property
    def remedy(self) -> str:
        return f"what it holds stays. If {self._box} is up, `citadel fleet doctor` says what it lacks"

    @contextlib.asynccontextmanager
    async def connect(self, request: bytes, reader: asyncio.StreamReader) -> AsyncIterator[None]:
        name = uuid4().bytes
        carrying = asyncio.create_task(self._carry(name, request, reader))
        try:
            yield
        finally:
            if not carrying.done():
                carrying.cancel()
                self._leave(name)

    async def _carry(self, name: bytes, request: bytes, reader: asyncio.StreamReader) -> None:
        """Feed the reader with the answer, to its end or to why there is none."""
        try:
            said = await self._said("ask", name, request)
            while said.startswith(MORE):
                if len(said) > len(MORE):
                    reader.feed_data(said[len(MORE) :])
                said = await self._said("more", name)
            if said == LOST:
                raise EngineUnreachable(self._words("was started again, or heard nothing from us for too long"))
            reader.feed_data(said[len(LAST) :])
            reader.feed_eof()
        except EngineUnreachable as error:
            reader.set_exception(error)

    async def _said(self, method: str, *arguments: bytes) -> bytes:
        """What the agent answers. Raises EngineUnreachable, in our words."""
        try:
            if self._agent is None:
                self._agent = await self._driver.agent(self._box, self._socket)
            said: bytes = await getattr(self._agent, method).remote(*arguments)
        except RayError as error:
            if isinstance(error, ActorDiedError):  # for good, as when the box had left: the next call finds another
                self._agent = None
            _log.info("the agent of %s: %s", self._box, error)
            raise EngineUnreachable(self._words("does not answer: it ended, or the line to it")) from error
        return said

    def _leave(self, name: bytes) -> None:
        if self._agent is not None:
            with contextlib.suppress(RayError):
                self._agent.leave.remote(name)

    def _words(self, what: str) -> str:
        return (
            f"the agent of {self._box} {what}. Its engine goes on with what it was told, and what it holds stays; Ray brings the"
            f" agent back with {self._box}, and a command that is sent again with its id is done once"
        )
