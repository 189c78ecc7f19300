"""The calls under /v1, one handler each: decode, ask the engine, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Final, TypeAlias, TypeVar

from aiohttp import web

from engine.api import BadRequest, EngineAPI, EngineError
from engine.core.commands import Command, Submission
from engine.core.proposals import Wish
from engine.core.serialization import from_json, to_json
from engine.core.tasks import RunEvent
from engine.core.texts import in_brief
from engine.gateway.door import Gateway
from engine.service.gate import gate, mark_protocol
from engine.slab_peer import SlabOffer, SlabPeer
from engine.wire import (
    KEEP_ALIVE_S,
    MAX_BODY_BYTES,
    CancelReply,
    KeepAliveRequest,
    OfferRequest,
    QuietReply,
    QuietRequest,
    RunFailed,
    RunLine,
    RunRequest,
    problem_of,
)

_BLANK: Final = b"\n"
_MOST_DIGITS: Final = 18
_Item = TypeVar("_Item")


async def send_lines(
    request: web.Request, items: AsyncIterator[_Item], keep_alive_s: float = KEEP_ALIVE_S
) -> web.StreamResponse:
    """Write `items` as JSON lines until they end or the reader has gone; blank lines keep the connection alive between them."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    try:
        await response.prepare(request)
        lines = _Lines(response, keep_alive_s)
        keeping_alive = asyncio.create_task(lines.keep_alive())
        try:
            async for item in items:
                await lines.write(to_json(item) + b"\n")
        finally:
            keeping_alive.cancel()
    except (EngineError, ConnectionError):
        return response
    finally:
        if isinstance(items, AsyncGenerator):  # left to the garbage collector, the engine's side would go on until then
            await items.aclose()
    return response


class _Lines:
    """The lines of a response. A stream of tokens costs a write each, and no task or timer."""

    def __init__(self, response: web.StreamResponse, keep_alive_s: float) -> None:
        self._response: Final = response
        self._keep_alive_s: Final = keep_alive_s
        self._now_s: Final = asyncio.get_running_loop().time
        self._written_s = self._now_s()

    async def write(self, line: bytes) -> None:
        """Raises ConnectionError when the reader has gone."""
        self._written_s = self._now_s()
        await self._response.write(line)

    async def keep_alive(self) -> None:
        """Write a blank line whenever nothing else was written for so long, until the reader has gone."""
        with suppress(ConnectionError):
            while True:
                silent_s = self._now_s() - self._written_s
                if silent_s < self._keep_alive_s:
                    await asyncio.sleep(self._keep_alive_s - silent_s)
                else:
                    await self.write(_BLANK)


async def _lines(first: RunEvent, others: AsyncIterator[RunEvent]) -> AsyncGenerator[RunLine, None]:
    """The lines of a run that has begun: what fails now can only be said in one."""
    yield first
    try:
        async for event in others:
            yield event
    except EngineError as error:
        yield RunFailed(problem_of(error))


Stop: TypeAlias = Callable[[bool], asyncio.Future[None]]
"""Asks the serving process to end, at once or when what runs has ended; done when the engine has stopped."""


def application(
    engine: EngineAPI, gateway: Gateway, stop: Stop, slabs: SlabPeer | None, *, read_only: bool
) -> web.Application:
    """The engine's routes behind the gate. Without `slabs` it carries none."""
    app = web.Application(middlewares=[gate(read_only=read_only)], client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(mark_protocol)
    routes = Routes(engine, stop)
    app.add_routes(
        [
            web.get("/v1/hello", routes.hello),
            web.get("/v1/snapshot", routes.snapshot),
            web.get("/v1/events", routes.events),
            web.get("/v1/records", routes.records),
            web.post("/v1/plan", routes.plan),
            web.post("/v1/propose", routes.propose),
            web.post("/v1/commands", routes.submit),
            web.delete("/v1/commands/{id}", routes.cancel),
            web.post("/v1/run", routes.run),
            web.get("/v1/requests", routes.requests),
            web.delete("/v1/requests/{number}", routes.cancel_request),
            web.post("/v1/keep-alive", routes.keep_alive),
            web.post("/v1/reload", routes.reload),
            web.post("/v1/quiet", routes.keep_quiet),
            web.post("/v1/workers/{device}/restart", routes.restart_worker),
            web.post("/v1/stop", routes.stop),
            *gateway.routes(MAX_BODY_BYTES),
        ]
    )
    if slabs is not None:
        carried = _SlabRoutes(slabs)
        app.add_routes(
            [
                web.post("/v1/slabs/{model}/offer", carried.offer),
                web.post("/v1/slabs/{model}/fetch", carried.fetch),
            ]
        )
    return app


class Routes:
    """Handlers over one engine."""

    def __init__(self, engine: EngineAPI, stop: Stop) -> None:
        self._engine = engine
        self._stop = stop

    async def hello(self, _request: web.Request) -> web.Response:
        return _json(await self._engine.hello())

    async def snapshot(self, _request: web.Request) -> web.Response:
        return _json(await self._engine.snapshot())

    async def events(self, request: web.Request) -> web.StreamResponse:
        after = _number("after", request.query["after"]) if "after" in request.query else None
        return await send_lines(request, self._engine.events(after))

    async def records(self, request: web.Request) -> web.Response:
        limit = _number("limit", request.query["limit"]) if "limit" in request.query else 100
        return _json(await self._engine.records(limit))

    async def plan(self, request: web.Request) -> web.Response:
        command = from_json(await request.read(), Command)
        return _json(await self._engine.plan(command, now="now" in request.query))

    async def propose(self, request: web.Request) -> web.Response:
        return _json(await self._engine.propose(from_json(await request.read(), Wish)))

    async def submit(self, request: web.Request) -> web.Response:
        submission = from_json(await request.read(), Submission)
        return _json(await self._engine.submit(submission))

    async def cancel(self, request: web.Request) -> web.Response:
        return _json(CancelReply(await self._engine.cancel(request.match_info["id"])))

    async def run(self, request: web.Request) -> web.StreamResponse:
        asked = from_json(await request.read(), RunRequest)
        async with aclosing(self._engine.run(asked.model, asked.task)) as events:
            # Awaited before the response begins: what fails until then still has a status of its own.
            first = await anext(events)
            return await send_lines(request, _lines(first, events))

    async def requests(self, _request: web.Request) -> web.Response:
        return _json(await self._engine.requests())

    async def cancel_request(self, request: web.Request) -> web.Response:
        return _json(await self._engine.cancel_request(_number("the request", request.match_info["number"])))

    async def keep_alive(self, request: web.Request) -> web.Response:
        asked = from_json(await request.read(), KeepAliveRequest)
        await self._engine.keep_alive(asked.model, asked.seconds)
        return _json({})

    async def reload(self, _request: web.Request) -> web.Response:
        return _json(await self._engine.reload())

    async def keep_quiet(self, request: web.Request) -> web.Response:
        asked = from_json(await request.read(), QuietRequest)
        return _json(QuietReply(await self._engine.keep_quiet(asked.for_s)))

    async def restart_worker(self, request: web.Request) -> web.Response:
        await self._engine.restart_worker(request.match_info["device"])
        return _json({})

    async def stop(self, request: web.Request) -> web.Response:
        await asyncio.shield(self._stop("now" in request.query))
        return _json({})


class _SlabRoutes:
    """Handlers of slabs that go from machine to machine."""

    def __init__(self, slabs: SlabPeer) -> None:
        self._slabs: Final = slabs

    async def offer(self, request: web.Request) -> web.Response:
        asked = from_json(await request.read(), OfferRequest)
        return _json(await self._slabs.offer_slab(request.match_info["model"], asked.host, asked.ports))

    async def fetch(self, request: web.Request) -> web.Response:
        offer = from_json(await request.read(), SlabOffer)
        return _json(await self._slabs.fetch_slab(request.match_info["model"], offer))


def _json(answer: object) -> web.Response:
    return web.Response(body=to_json(answer), content_type="application/json")


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise BadRequest(f"{name} must be a whole number of at most {_MOST_DIGITS} digits, not '{in_brief(text, 40)}'")
    return int(text)
