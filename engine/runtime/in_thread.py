"""Blocking work on memory that its caller owns: it runs in a thread, and has ended when the caller goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], stop: threading.Event) -> T:
    """What `work` returns or raises. A caller that is cancelled sets `stop`, which `work` heeds, and waits for its end."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except BaseException:
        stop.set()
        await asyncio.wait([running])  # until the thread has ended it may touch the memory
        if not running.cancelled():
            running.exception()  # or asyncio would complain that nobody asked for it
        raise
