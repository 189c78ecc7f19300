"""The line to one box's engine: what a fleet asks of it, and the engines that are reached by a socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol

from engine.api import Answer, Event, Hello, Snapshot
from engine.client import RemoteEngine
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Submission
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.records import Record
from engine.core.tasks import RunEvent, Task
from engine.paths import Paths
from engine.slab_peer import SlabPeer
from engine.ssh_forward import forwarded

LOOPBACK: Final = "127.0.0.1"
ANSWERS_WITHIN_S: Final = 3.0
"""A box that takes longer for what it knows is taken for one that hangs."""


class NodeLink(SlabPeer, Protocol):
    """`EngineAPI` of one box, as it calls its models and devices, but for what a fleet makes of `run` itself and for `stop`: a
    fleet ends no engine. Every method may raise EngineError, and EngineUnreachable, OtherVersion among it, when the box does not
    answer; one may be called again at any time, and finds the box again when that is back. How each may end is said in
    `engine.api`."""

    @property
    def silent_s(self) -> float:
        """Since the box's last sign of life: one a second while its events are followed."""
        ...

    async def reached_at(self) -> str:
        """The box's IP address for other boxes, at which it offers slabs; empty where none is known."""
        ...

    async def hello(self) -> Hello: ...

    async def snapshot(self) -> Snapshot: ...

    def events(self, after: int | None = None) -> AsyncGenerator[Event, None]: ...

    async def records(self, limit: int = 100) -> tuple[Record, ...]: ...

    async def requests(self) -> RequestsUnderWay: ...

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal: ...

    async def propose(self, wish: Wish) -> Proposal | Refusal: ...

    async def submit(self, submission: Submission) -> Answer: ...

    async def cancel(self, submission_id: str) -> bool: ...

    def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]: ...

    async def cancel_request(self, number: int) -> RequestUnderWay: ...

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None: ...

    async def reload(self) -> CatalogChange: ...

    async def keep_quiet(self, for_s: float) -> float: ...

    async def restart_worker(self, device: DeviceId) -> None: ...


class OpenLink(Protocol):
    """Brings the line to a box up, and takes it down with the block. Raises EngineUnreachable."""

    def __call__(self) -> AbstractAsyncContextManager[NodeLink]: ...


class SocketLink(RemoteEngine):
    """The engine behind a socket of this machine, of the one that other boxes reach at `address`."""

    def __init__(self, socket: Path, address: str = "") -> None:
        super().__init__(socket, answers_within_s=ANSWERS_WITHIN_S)
        self._address: Final = address

    async def reached_at(self) -> str:
        return self._address


@contextlib.asynccontextmanager
async def link_to_socket(socket: Path, address: str = LOOPBACK) -> AsyncIterator[NodeLink]:
    """An engine of this machine, which has `address` where other boxes reach it."""
    yield SocketLink(socket, address)


@contextlib.asynccontextmanager
async def link_over_ssh(host: str, paths: Paths, remote: str = "") -> AsyncIterator[NodeLink]:
    """The engine of another machine; `remote` is its socket there, which is asked for where it is left out."""
    async with forwarded(host, paths, remote) as socket:
        yield SocketLink(socket)
