"""An engine that keeps quiet for as long as something is measured. When whoever measures has gone, it goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from engine.api import EngineAPI, EngineError

LEASE_S: Final = 15.0
RENEWAL_S: Final = 5.0
"""Two renewals may come late or be lost before the engine goes on."""


@asynccontextmanager
async def kept_quiet(api: EngineAPI, renewal_s: float = RENEWAL_S) -> AsyncIterator[float]:
    """The seconds between two readings of a device meanwhile. Raises EngineError."""
    sample_s = await api.keep_quiet(LEASE_S)
    renewing = asyncio.create_task(_renew(api, renewal_s), name="keeping the engine quiet")
    try:
        yield sample_s
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with suppress(EngineError):  # it goes on by itself, if it is there at all
            await api.keep_quiet(0)


async def _renew(api: EngineAPI, renewal_s: float) -> None:
    """An engine that can't be reached is noticed by what is measured."""
    while True:
        await asyncio.sleep(renewal_s)
        await api.keep_quiet(LEASE_S)
