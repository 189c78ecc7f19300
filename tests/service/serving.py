"""An engine served on the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from engine.api import EngineAPI
from engine.client import RemoteEngine
from engine.lock import sole_engine
from engine.paths import Paths
from engine.service.serve import serve
from engine.slab_peer import SlabPeer
from tests.scripted_slabs import CarryingEngine


@contextlib.asynccontextmanager
async def serving(engine: EngineAPI, paths: Paths, slabs: SlabPeer | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """Serve `engine`, and `slabs` or what it is of them itself, while inside; leaving stops it."""
    ready = asyncio.Event()
    if slabs is None and isinstance(engine, CarryingEngine):
        slabs = engine
    service = asyncio.create_task(_serve(engine, paths, slabs, ready))
    started = asyncio.create_task(ready.wait())
    await asyncio.wait({service, started}, return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        started.cancel()
        await service
    try:
        yield service
    finally:
        if not service.done():
            await RemoteEngine(paths.socket).stop()
        await service


async def _serve(engine: EngineAPI, paths: Paths, slabs: SlabPeer | None, ready: asyncio.Event) -> None:
    with sole_engine(paths) as lock:
        await serve(engine, paths, lock, slabs=slabs, on_ready=ready.set)
