"""Requests as bytes at the engine's socket, and what no answer to them may be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from engine.paths import Paths

LONGEST_SAID: Final = 4000
"""Characters of a refusal."""
WAITS_S: Final = 1.0
"""For an answer; a request that may be meant, and waits for room, is left then."""
_AT_ONCE: Final = 16


async def ask(paths: Paths, request: bytes, waits_s: float = WAITS_S) -> bytes:
    """All that comes for these bytes; what had come, where it does not end."""
    reader, writer = await asyncio.open_unix_connection(str(paths.socket))
    said = bytearray()
    with suppress(OSError, TimeoutError):
        writer.write(request)
        async with asyncio.timeout(waits_s):
            while piece := await reader.read(1 << 16):
                said += piece
    writer.close()
    return bytes(said)


def post(path: str, body: bytes) -> bytes:
    return b"POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


def check(said: bytes, request: bytes) -> None:
    """Not everything is answered; what is, is answered in words, and no defect shows."""
    if not said:
        return
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/"), said[:200]
    status = int(head.split()[1])
    assert status < 500 or status in (503, 504), (request[:500], said[:1000])
    if status >= 400:
        assert b"Traceback" not in said, said[:1000]
        if b"application/json" in head:  # else it was no HTTP, and aiohttp says so itself
            assert len(body) < LONGEST_SAID, (request[:300], len(body))
            text = json.dumps(json.loads(body), ensure_ascii=False)
            assert body.decode().strip().isprintable(), text


async def bombard(paths: Paths, requests: Iterator[bytes], waits_s: float = WAITS_S) -> None:
    """Send all of them, some at a time, but what would end the engine; each answer is checked."""

    async def send() -> None:
        for request in requests:
            if b"/v1/stop" not in request:
                check(await ask(paths, request, waits_s), request)

    async with asyncio.TaskGroup() as senders:
        for _ in range(_AT_ONCE):
            senders.create_task(send())
