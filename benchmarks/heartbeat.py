"""How late an event loop comes back to a task that only wants to sleep: what anybody who asks the engine then has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

BEAT_S: Final = 0.001


@asynccontextmanager
async def heartbeat(late_s: list[float]) -> AsyncIterator[None]:
    """Adds to `late_s`, each millisecond of the block, by how much longer than that the loop took."""
    beating = asyncio.create_task(_beat(late_s))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _beat(late_s: list[float]) -> None:
    clock = asyncio.get_running_loop()
    while True:
        began_s = clock.time()
        await asyncio.sleep(BEAT_S)
        late_s.append(clock.time() - began_s - BEAT_S)
