"""One client's stream of events: JSON lines, kept alive by blank ones.

The next event is asked of the engine when the last one has been taken, so a slow reader makes nothing queue up here: while
it reads, the engine's newer snapshots replace each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import msgspec
from aiohttp import web

from engine.api import EngineError, Event
from engine.wire import KEEP_ALIVE_S

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
