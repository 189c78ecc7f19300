"""HTTP over the engine's Unix socket, as little of it as one client of one server needs.

It speaks HTTP/1.0, one connection a call, so that a body ends where the connection does. A full HTTP client costs 0.15 s of
imports, most of what `citadel status` may take; this costs nothing beside asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.api import EngineUnreachable
from engine.wire import KEEP_ALIVE_S, MAX_BODY_BYTES

ANSWER_DEADLINE_S: Final = 10.0
"""For calls that the engine answers from what it knows."""
_SILENCE_LIMIT_S: Final = 4 * KEEP_ALIVE_S
MAX_ANSWER_BYTES: Final = 256 << 20
"""Of a whole answer: far above any snapshot and all records."""
_PIECE_BYTES: Final = 1 << 20
_MOST_DIGITS: Final = 18
_NO_ANSWER: Final = (
    "what listens at the engine's socket gives no answer of an engine; look who it is, or end it with `citadel stop`"
)


class NoEngine(EngineUnreachable):
    """Nobody listens at the socket."""


@dataclass(frozen=True)
class HttpRequest:
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.0", "Host: citadel", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class ResponseHead:
    """Status and headers of a response; header names in lower case."""

    status: int
    headers: Mapping[str, str]


async def exchange(socket: Path, request: HttpRequest, deadline_s: float | None) -> tuple[ResponseHead, bytes]:
    """One request and its whole answer. Raises EngineUnreachable."""
    try:
        async with asyncio.timeout(deadline_s), _open(socket, request) as (head, reader):
            body = await _body(reader)
    except TimeoutError:
        raise EngineUnreachable(
            f"the engine at {socket} has not answered for {deadline_s:g} s; look at its log, or end it with `citadel stop`"
        ) from None
    announced = head.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > _MOST_DIGITS:
        raise EngineUnreachable(_NO_ANSWER)
    if len(body) < int(announced):
        raise EngineUnreachable("the engine went away while it answered; its log says why")
    return head, body


async def _body(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends. Raises EngineUnreachable for more than any answer has."""
    body = bytearray()
    try:
        while piece := await reader.read(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise EngineUnreachable(f"{_NO_ANSWER}: it has more than {MAX_ANSWER_BYTES} bytes")
    except OSError as error:
        raise EngineUnreachable(f"the engine went away while it answered: {error.strerror}") from None
    return bytes(body)


@contextlib.asynccontextmanager
async def stream(
    socket: Path, request: HttpRequest, longest_line: int = MAX_BODY_BYTES
) -> AsyncIterator[tuple[ResponseHead, AsyncIterator[bytes]]]:
    """A response whose lines come as time goes by, none of more than `longest_line` bytes."""
    async with _open(socket, request, longest_line) as (head, reader):
        yield head, _lines(reader)


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines until the connection ends, the blank ones that keep it alive left out. Raises EngineUnreachable on silence."""
    while True:
        try:
            async with asyncio.timeout(_SILENCE_LIMIT_S):
                line = await reader.readline()
        except TimeoutError:
            raise EngineUnreachable(f"the engine has said nothing for {_SILENCE_LIMIT_S:g} s") from None
        except ValueError:  # of asyncio: longer than the reader's limit
            raise EngineUnreachable(f"{_NO_ANSWER}: a line of it does not end") from None
        except OSError:
            return
        if not line.endswith(b"\n"):
            return
        if line.strip():
            yield line


@contextlib.asynccontextmanager
async def _open(
    socket: Path, request: HttpRequest, longest_line: int = MAX_BODY_BYTES
) -> AsyncIterator[tuple[ResponseHead, asyncio.StreamReader]]:
    """Send `request` and read the head of the answer; leaving closes the connection."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=longest_line)
    except OSError as error:
        raise _unreachable(socket, error) from None
    try:
        try:
            writer.write(request.encode())
            await writer.drain()
            head = await _read_head(reader)
        except (OSError, asyncio.IncompleteReadError):
            raise EngineUnreachable("the engine ended the connection without an answer; its log says why") from None
        except (ValueError, asyncio.LimitOverrunError):
            raise EngineUnreachable(_NO_ANSWER) from None
        yield head, reader
    finally:
        writer.close()


async def _read_head(reader: asyncio.StreamReader) -> ResponseHead:
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    _version, status, *_reason = status_line.split(" ")
    pairs = (line.partition(":") for line in lines)
    return ResponseHead(int(status), {name.strip().lower(): value.strip() for name, _colon, value in pairs})


def _unreachable(socket: Path, error: OSError) -> EngineUnreachable:
    start = "start one with `citadel` or `citadel serve`"
    match error:
        case FileNotFoundError():
            return NoEngine(f"no engine is running; {start} (there is no {socket})")
        case ConnectionRefusedError():
            return NoEngine(f"no engine is running; {start} (the one that listened at {socket} has gone)")
        case PermissionError():
            return EngineUnreachable(
                f"the engine at {socket} belongs to another user; set CITADEL_HOME to run your own"
            )
        case _:
            return EngineUnreachable(f"the engine at {socket} can't be reached: {error.strerror}")
