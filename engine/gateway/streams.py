"""Answers that come in parts: what a run says becomes pieces of a body, and whoever goes ends the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final

from aiohttp import web

from engine.api import EngineError
from engine.core.tasks import RunEvent
from engine.gateway.problems import Fault, fault_of

ALIVE_S: Final = 10.0
"""A stream is never silent for longer: proxies and clients take silence for death."""


async def send_stream(
    request: web.Request,
    events: AsyncGenerator[RunEvent, None],
    pieces_of: Callable[[RunEvent], Iterable[bytes]],
    last_words: Callable[[Fault], bytes],
    headers: Mapping[str, str],
    alive: bytes,
    alive_s: float = ALIVE_S,
) -> web.StreamResponse:
    """Send what `pieces_of` makes of each event. Before the first one a failure is the handler's; after it, `last_words` say it.

    `alive` is sent when nothing has come for `alive_s` seconds. A client that goes ends the run, since the events are closed.
    """
    async with aclosing(events):
        response = web.StreamResponse(headers=headers)
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while True:
                await asyncio.wait({upcoming}, timeout=alive_s)
                if not response.prepared:
                    if upcoming.done() and upcoming.exception():
                        upcoming.result()  # no byte was sent: what failed still has a status of its own
                    await response.prepare(request)
                if not upcoming.done():
                    await response.write(alive)
                    continue
                for piece in pieces_of(upcoming.result()):
                    await response.write(piece)
                upcoming = asyncio.ensure_future(anext(events))
        except StopAsyncIteration:
            return response
        except EngineError as error:
            if not response.prepared:
                raise
            await response.write(last_words(fault_of(error)))
            return response
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
