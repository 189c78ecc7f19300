"""The calls under /v1, one handler each: decode, ask the engine, encode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web

from engine.api import EngineAPI, EngineError, Event
from engine.core.commands import Command, Submission
from engine.core.proposals import Wish
from engine.service.gate import gate, mark_protocol
from engine.wire import (
    KEEP_ALIVE_S,
    MAX_BODY_BYTES,
    CancelReply,
    EmbedRequest,
    GenerateRequest,
    QuietReply,
    QuietRequest,
)

_BLANK: Final = b"\n"


async def send_events(
    request: web.Request, events: AsyncIterator[Event], keep_alive_s: float = KEEP_ALIVE_S
) -> web.StreamResponse:
    """Write `events` until they end or the reader has gone."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    upcoming = asyncio.ensure_future(anext(events))
    try:
        await response.prepare(request)
        while True:
            await asyncio.wait({upcoming}, timeout=keep_alive_s)
            if not upcoming.done():
                await response.write(_BLANK)
                continue
            await response.write(msgspec.json.encode(upcoming.result()) + b"\n")
            upcoming = asyncio.ensure_future(anext(events))
    except (EngineError, StopAsyncIteration, ConnectionError):
        return response
    finally:
        await _let_go(upcoming, events)


async def _let_go(upcoming: asyncio.Future[Event], events: AsyncIterator[Event]) -> None:
    """Close the engine's side now; left to the garbage collector it would go on until then."""
    upcoming.cancel()
    await asyncio.gather(upcoming, return_exceptions=True)
    if isinstance(events, AsyncGenerator):
        await events.aclose()


Stop: TypeAlias = Callable[[], asyncio.Future[None]]
"""Asks the serving process to end; done when the engine has stopped."""


def application(engine: EngineAPI, stop: Stop, *, read_only: bool) -> web.Application:
    """The engine's routes behind the gate."""
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
            web.post("/v1/embed", routes.embed),
            web.post("/v1/generate", routes.generate),
            web.post("/v1/quiet", routes.keep_quiet),
            web.post("/v1/stop", routes.stop),
        ]
    )
    return app


class Routes:
    """Handlers over one engine."""

    def __init__(self, engine: EngineAPI, stop: Stop) -> None:
        self._engine = engine
        self._stop = stop
        self._command: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Command)
        self._wish: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Wish)

    async def hello(self, _request: web.Request) -> web.Response:
        return _json(await self._engine.hello())

    async def snapshot(self, _request: web.Request) -> web.Response:
        return _json(await self._engine.snapshot())

    async def events(self, request: web.Request) -> web.StreamResponse:
        after = _number(request, "after") if "after" in request.query else None
        return await send_events(request, self._engine.events(after))

    async def records(self, request: web.Request) -> web.Response:
        limit = _number(request, "limit") if "limit" in request.query else 100
        return _json(await self._engine.records(limit))

    async def plan(self, request: web.Request) -> web.Response:
        return _json(await self._engine.plan(self._command.decode(await request.read())))

    async def propose(self, request: web.Request) -> web.Response:
        return _json(await self._engine.propose(self._wish.decode(await request.read())))

    async def submit(self, request: web.Request) -> web.Response:
        submission = msgspec.json.decode(await request.read(), type=Submission)
        return _json(await self._engine.submit(submission))

    async def cancel(self, request: web.Request) -> web.Response:
        return _json(CancelReply(await self._engine.cancel(request.match_info["id"])))

    async def embed(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=EmbedRequest)
        return _json(await self._engine.embed(asked.model, asked.texts))

    async def generate(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=GenerateRequest)
        return _json(await self._engine.generate(asked.model, asked.prompt, asked.max_tokens))

    async def keep_quiet(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=QuietRequest)
        return _json(QuietReply(await self._engine.keep_quiet(asked.for_s)))

    async def stop(self, _request: web.Request) -> web.Response:
        await asyncio.shield(self._stop())
        return _json({})


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _number(request: web.Request, name: str) -> int:
    text = request.query[name]
    if not text.isascii() or not text.isdigit():
        raise web.HTTPBadRequest(reason=f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)
