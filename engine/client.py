"""The engine from another process: `EngineAPI` over HTTP, one connection a call, by its Unix socket or another way."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, TypeVar, overload
from urllib.parse import quote

from engine.api import (
    PROTOCOL,
    Answer,
    CannotServe,
    EngineAPI,
    EngineUnreachable,
    Event,
    Hello,
    OtherVersion,
    Snapshot,
)
from engine.core.catalog import CatalogChange
from engine.core.commands import Command, Submission
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay
from engine.core.names import DeviceId, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from engine.core.records import Record
from engine.core.serialization import Undecodable, from_json, to_json
from engine.core.tasks import RunEvent, RunResult, Task
from engine.core.texts import fault_of_text
from engine.lock import Holder, holder, script_words
from engine.paths import Paths
from engine.slab_peer import SlabFetched, SlabOffer, SlabPeer
from engine.transport import (
    ANSWER_DEADLINE_S,
    HttpRequest,
    NoEngine,
    ResponseHead,
    Transport,
    UnixSocket,
    exchange,
    stream,
)
from engine.wire import (
    MAX_RESULT_BYTES,
    MODE_HEADER,
    PROTOCOL_HEADER,
    READ_ONLY,
    CancelReply,
    KeepAliveRequest,
    OfferRequest,
    QuietReply,
    QuietRequest,
    RunFailed,
    RunLine,
    RunRequest,
    error_in,
    error_of,
    mismatch,
    same_protocol,
)

_T = TypeVar("_T")


async def connect(paths: Paths, *, read_only: bool = False) -> RemoteEngine:
    """The running engine. Raises EngineUnreachable when there is none, or when it speaks another version."""
    engine = RemoteEngine(paths.socket, read_only=read_only)
    try:
        await engine.hello()
    except NoEngine:
        if found := holder(paths):
            raise NoEngine(_why_unheard(found)) from None
        raise
    return engine


def _why_unheard(found: Holder) -> str:
    if found.host == "script":
        return script_words(found)
    process = f" (process {found.pid})" if found.pid else ""
    return (
        f"the engine{process} does not listen just now: it starts, ends, or makes its socket anew after somebody removed it; "
        "try again in a few seconds"
    )


class EngineClient(EngineAPI, SlabPeer):
    """`EngineAPI` for the engine that `transport` leads to, and what other machines' engines are to it."""

    def __init__(
        self,
        transport: Transport,
        *,
        read_only: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        answers_within_s: float = ANSWER_DEADLINE_S,
    ) -> None:
        """`answers_within_s`: for calls that the engine answers from what it knows."""
        self._transport = transport
        self._answers_within_s = answers_within_s
        self._monotonic = monotonic
        self._heard_s = monotonic()
        self._headers = {PROTOCOL_HEADER: str(PROTOCOL)} | ({MODE_HEADER: READ_ONLY} if read_only else {})

    async def hello(self) -> Hello:
        return self._read(await self._call("GET", "/v1/hello"), Hello)

    async def snapshot(self) -> Snapshot:
        return self._read(await self._call("GET", "/v1/snapshot"), Snapshot)

    @property
    def silent_s(self) -> float:
        return self._monotonic() - self._heard_s

    def _hear(self) -> None:
        self._heard_s = self._monotonic()

    async def events(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        request = HttpRequest("GET", "/v1/events" + ("" if after is None else f"?after={after}"), headers=self._headers)
        async with stream(self._transport, request, hear=self._hear) as (head, lines):
            if head.status != 200:
                raise error_in(b"".join([line async for line in lines]))
            _check_protocol(head)
            async for line in lines:
                yield self._read(line, Event)
        raise EngineUnreachable("the engine has ended, or was lost; start it again with `citadel`")

    async def records(self, limit: int = 100) -> tuple[Record, ...]:
        return self._read(await self._call("GET", f"/v1/records?limit={limit}"), tuple[Record, ...])

    async def requests(self) -> RequestsUnderWay:
        return self._read(await self._call("GET", "/v1/requests"), RequestsUnderWay)

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        body = await self._call("POST", f"/v1/plan{_now(now)}", command)
        planned: Plan | Refusal = self._read(body, Plan | Refusal)
        return planned

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        body = await self._call("POST", "/v1/propose", wish)
        proposed: Proposal | Refusal = self._read(body, Proposal | Refusal)
        return proposed

    async def submit(self, submission: Submission) -> Answer:
        body = await self._call("POST", "/v1/commands", submission, takes_long=True)
        answer: Answer = self._read(body, Answer)
        return answer

    async def cancel(self, submission_id: str) -> bool:
        body = await self._call("DELETE", f"/v1/commands/{quote(submission_id, safe='')}")
        return self._read(body, CancelReply).cancelled

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        request = HttpRequest("POST", "/v1/run", _encoded(RunRequest(model, task)), self._headers)
        async with stream(self._transport, request, MAX_RESULT_BYTES) as (head, lines):
            if head.status != 200:
                raise error_in(b"".join([line async for line in lines]))
            _check_protocol(head)
            async for line in lines:
                said: RunLine = self._read(line, RunLine)
                if isinstance(said, RunFailed):
                    raise error_of(said.problem)
                yield said
                if isinstance(said, RunResult):
                    return
        raise EngineUnreachable(f"the engine went while {model} ran; start it again with `citadel`")

    async def cancel_request(self, number: int) -> RequestUnderWay:
        return self._read(await self._call("DELETE", f"/v1/requests/{number}"), RequestUnderWay)

    async def keep_alive(self, model: ModelName, seconds: float | None) -> None:
        await self._call("POST", "/v1/keep-alive", KeepAliveRequest(model, seconds))

    async def reload(self) -> CatalogChange:
        return self._read(await self._call("POST", "/v1/reload", takes_long=True), CatalogChange)

    async def keep_quiet(self, for_s: float) -> float:
        body = await self._call("POST", "/v1/quiet", QuietRequest(for_s))
        return self._read(body, QuietReply).sample_s

    async def restart_worker(self, device: DeviceId) -> None:
        await self._call("POST", f"/v1/workers/{quote(device, safe='')}/restart", takes_long=True)

    async def offer_slab(self, model: ModelName, host: str, ports: tuple[int, ...]) -> SlabOffer:
        asked = OfferRequest(host, ports)
        return self._read(await self._call("POST", f"/v1/slabs/{quote(model, safe='')}/offer", asked), SlabOffer)

    async def fetch_slab(self, model: ModelName, offer: SlabOffer) -> SlabFetched:
        body = await self._call("POST", f"/v1/slabs/{quote(model, safe='')}/fetch", offer, takes_long=True)
        return self._read(body, SlabFetched)

    async def stop(self, *, now: bool = False) -> None:
        """Also ends an engine that speaks another version: this is how one gets rid of it."""
        request = HttpRequest("POST", f"/v1/stop{_now(now)}", headers=self._headers)
        head, body = await exchange(self._transport, request, None)
        if head.status != 200:
            raise error_in(body)

    async def close(self) -> None:
        """Nothing to let go of: each call has its own connection."""

    @overload
    def _read(self, said: bytes, kind: type[_T]) -> _T: ...
    @overload
    def _read(self, said: bytes, kind: Any) -> Any: ...  # noqa: ANN401 - unions have no type of their own
    def _read(self, said: bytes, kind: Any) -> Any:
        """What the engine said. Raises EngineUnreachable where that is no `kind`: somebody else listens there, or an engine that
        is broken."""
        try:
            return from_json(said, kind)
        except Undecodable as error:
            raise EngineUnreachable(
                f"what listens {self._transport.where} answered what this client can't read ({error}); nothing more is asked of"
                " it. If it is your engine, its log may say why: end it with `citadel stop`"
            ) from error

    async def _call(self, method: str, path: str, body: object = None, *, takes_long: bool = False) -> bytes:
        encoded = b"" if body is None else _encoded(body)
        request = HttpRequest(method, path, encoded, self._headers)
        deadline_s = None if takes_long else self._answers_within_s
        head, received = await exchange(self._transport, request, deadline_s, self._hear)
        if head.status != 200:
            raise error_in(received)
        _check_protocol(head)
        return received


class RemoteEngine(EngineClient):
    """The engine that listens at `socket`."""

    def __init__(
        self,
        socket: Path,
        *,
        read_only: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        answers_within_s: float = ANSWER_DEADLINE_S,
    ) -> None:
        super().__init__(
            UnixSocket(socket), read_only=read_only, monotonic=monotonic, answers_within_s=answers_within_s
        )


def _now(now: bool) -> str:
    return "?now=1" if now else ""


def _encoded(body: object) -> bytes:
    """Raises CannotServe for a text that is not admitted."""
    try:
        return to_json(body)
    except UnicodeEncodeError as error:
        raise CannotServe(f"what was asked {fault_of_text(error.object)}") from error


def _check_protocol(head: ResponseHead) -> None:
    theirs = head.headers.get(PROTOCOL_HEADER.lower(), "0")
    if not same_protocol(theirs):
        raise OtherVersion(mismatch(str(PROTOCOL), theirs))
