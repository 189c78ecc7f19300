"""HTTP to an engine, as little of it as one client of one server needs, over its Unix socket or whatever else carries bytes
there. Over the socket nothing is said before it is certain that its folder and whoever answers there are this user's.

It speaks HTTP/1.0, one connection a call, so that a body ends where the connection does. A full HTTP client costs 0.15 s of
imports, most of what `citadel status` may take; this costs nothing beside asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Any, Final, NamedTuple, Protocol, SupportsIndex, TypeVar

from engine.api import EngineUnreachable
from engine.paths import require_private
from engine.wire import MAX_BODY_BYTES

_T = TypeVar("_T")

ANSWER_DEADLINE_S: Final = 10.0
"""For calls that the engine answers from what it knows."""
_LOOK_S: Final = 3.0
"""Between two looks at whether an engine lives that takes long for an answer."""
_SILENCE_LIMIT_S: Final = 12.0
"""Whoever says nothing for so long hangs."""
MAX_ANSWER_BYTES: Final = 256 << 20
"""Of a whole answer: far above any snapshot and all records."""
_PIECE_BYTES: Final = 1 << 20
_MOST_DIGITS: Final = 18
_NO_ANSWER: Final = (
    "what listens at the engine's socket left us without an answer that can be read; look who it is, or end it with"
    " `citadel stop`"
)
_LOOKS: Final = 2
"""Of so many signs of life one must come: where this very process stood still, the first was late through no fault of theirs."""

_CREDENTIALS: Final = struct.Struct("3i")
"""The kernel's `struct ucred`: pid, uid, gid."""


class PeerSocket(Protocol):
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


class Peer(NamedTuple):
    """The process at the other end, as the kernel knows it."""

    pid: int
    """0 where this container can't see it."""
    uid: int


def peer_of(socket: PeerSocket) -> Peer:
    """Who is at the other end."""
    pid, uid, _gid = _CREDENTIALS.unpack(socket.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
    return Peer(int(pid), int(uid))


class NoEngine(EngineUnreachable):
    """Nobody listens at the socket."""


class EngineHangs(EngineUnreachable):
    """Somebody listens at the socket, and says nothing."""


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


class AnswerReader(asyncio.StreamReader):
    """Notes that something has come as the loop takes it from the socket. A process that stood still takes what has come
    meanwhile before its timers run: then nobody mistakes its own standing still for the engine's."""

    def __init__(self, longest_line: int, hear: Callable[[], None]) -> None:
        super().__init__(longest_line)
        self._hear = hear
        self.has_heard = False

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.has_heard = True
        self._hear()
        super().feed_data(data)


class Transport(Protocol):
    """A way to an engine."""

    @property
    def where(self) -> str:
        """For the words "the engine … does not answer"."""
        ...

    @property
    def remedy(self) -> str:
        """What to do where it does not."""
        ...

    def connect(self, request: bytes, reader: asyncio.StreamReader) -> AbstractAsyncContextManager[None]:
        """Send the request, and feed `reader` with what comes back until that ends or the block is left, which tells the engine
        that nobody listens any more. Raises EngineUnreachable, which may also be what the reader ends with."""
        ...


async def exchange(
    transport: Transport, request: HttpRequest, deadline_s: float | None, hear: Callable[[], None] = lambda: None
) -> tuple[ResponseHead, bytes]:
    """One request and its whole answer; without a deadline as long as the engine lives. `hear` as for a stream. Raises
    EngineUnreachable."""
    if deadline_s is None:
        return await _while_alive(transport, _exchange(transport, request, hear))
    try:
        async with asyncio.timeout(deadline_s):
            return await _exchange(transport, request, hear)
    except TimeoutError:
        raise _hangs(transport, deadline_s) from None


async def _exchange(transport: Transport, request: HttpRequest, hear: Callable[[], None]) -> tuple[ResponseHead, bytes]:
    reader = AnswerReader(MAX_BODY_BYTES, hear)
    async with transport.connect(request.encode(), reader):
        head, body = await _head(reader), await _body(reader)
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
    transport: Transport,
    request: HttpRequest,
    longest_line: int = MAX_BODY_BYTES,
    hear: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[ResponseHead, AsyncIterator[bytes]]]:
    """A response whose lines come as time goes by, none of more than `longest_line` bytes. Its head may take long, too, as long
    as the engine lives. `hear` is called whenever something has come, blank lines too, before whatever else was due then. Raises
    EngineUnreachable."""
    reader = AnswerReader(longest_line, hear)
    async with transport.connect(request.encode(), reader):
        yield await _while_alive(transport, _head(reader)), _lines(transport, reader)


async def _while_alive(transport: Transport, work: Coroutine[Any, Any, _T]) -> _T:
    """What comes of `work`, which the engine may take long for while it answers others. Raises EngineHangs once it does not."""
    waiting = asyncio.ensure_future(work)
    try:
        while True:
            await asyncio.wait({waiting}, timeout=_LOOK_S)
            is_silent = not waiting.done() and await _is_silent(transport)
            if waiting.done():
                return waiting.result()
            if is_silent:
                raise _hangs(transport, _SILENCE_LIMIT_S)
    finally:
        waiting.cancel()


async def _is_silent(transport: Transport) -> bool:
    """Whether whoever listens gives no sign of life. Any answer is one; a socket that has gone tells nothing of the engine."""
    for _look in range(_LOOKS):
        try:
            await exchange(transport, HttpRequest("GET", "/v1/hello"), _SILENCE_LIMIT_S / _LOOKS)
        except EngineHangs:
            continue
        except EngineUnreachable:
            pass
        return False
    return True


async def _head(reader: AnswerReader) -> ResponseHead:
    """Raises EngineUnreachable."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        _version, status, *_reason = status_line.split(" ")
        pairs = (line.partition(":") for line in lines)
        return ResponseHead(int(status), {name.strip().lower(): value.strip() for name, _colon, value in pairs})
    except (OSError, asyncio.IncompleteReadError):
        raise EngineUnreachable("the engine ended the connection without an answer; its log says why") from None
    except (ValueError, asyncio.LimitOverrunError):
        raise EngineUnreachable(_NO_ANSWER) from None


async def _lines(transport: Transport, reader: AnswerReader) -> AsyncIterator[bytes]:
    """Lines until the connection ends, the blank ones that keep it alive left out. Raises EngineUnreachable on silence."""
    while True:
        reader.has_heard = False
        try:
            async with asyncio.timeout(_SILENCE_LIMIT_S):
                line = await reader.readline()
        except TimeoutError:
            if reader.has_heard:
                continue
            raise _hangs(transport, _SILENCE_LIMIT_S) from None
        except ValueError:  # of asyncio: longer than the reader's limit
            raise EngineUnreachable(f"{_NO_ANSWER}: a line of it does not end") from None
        except OSError:
            return
        if not line.endswith(b"\n"):
            return
        if line.strip():
            yield line


class UnixSocket:
    """The way to this user's engine on this machine."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._pid = 0
        """Who listened when we last connected."""

    @property
    def where(self) -> str:
        return f"at {self._path}"

    @property
    def remedy(self) -> str:
        if _is_stopped(self._pid):
            return (
                f"its process, {self._pid}, is stopped (as by Ctrl+Z): `kill -CONT {self._pid}` lets it go on, or end it with"
                " `citadel stop`"
            )
        return "look at its log, or end it with `citadel stop`"

    @contextlib.asynccontextmanager
    async def connect(self, request: bytes, reader: asyncio.StreamReader) -> AsyncIterator[None]:
        """Raises EngineUnreachable, PathRefused."""
        _require_own_folder(self._path)
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.create_unix_connection(
                lambda: asyncio.StreamReaderProtocol(reader), str(self._path)
            )
        except OSError as error:
            raise _unreachable(self._path, error) from None
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            # The folder may have been another one when it was looked at; the kernel knows who listens.
            self._pid, uid = peer_of(writer.get_extra_info("socket"))
            if uid != os.getuid():
                raise EngineUnreachable(
                    f"who answers at {self._path} is user {uid}, not you ({os.getuid()}): nothing was said to them. "
                    "Remove the folder, or set CITADEL_HOME to another"
                )
            writer.write(request)
            yield
        finally:
            writer.close()


def _require_own_folder(socket: Path) -> None:
    """Raises PathRefused; one that is not there is for whoever connects to find."""
    if os.path.lexists(socket.parent):
        require_private(socket.parent)


def _is_stopped(pid: int) -> bool:
    """Whether the process is there, and does nothing until it gets SIGCONT."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in (b"T", b"t")
    return False


def _hangs(transport: Transport, for_s: float) -> EngineHangs:
    return EngineHangs(f"the engine {transport.where} has not answered for {for_s:g} s; {transport.remedy}")


def _unreachable(socket: Path, error: OSError) -> EngineUnreachable:
    start = "start one with `citadel` or `citadel serve`"
    match error:
        case FileNotFoundError():
            return NoEngine(f"no engine is running; {start} (there is no {socket})")
        case ConnectionRefusedError() if not socket.is_socket():
            return NoEngine(f"no engine is running; {start} (what lies at {socket} is no socket)")
        case ConnectionRefusedError():
            return NoEngine(f"no engine is running; {start} (the one that listened at {socket} has gone)")
        case PermissionError():
            return EngineUnreachable(
                f"the engine at {socket} belongs to another user; set CITADEL_HOME to run your own"
            )
        case _:
            return EngineUnreachable(f"the engine at {socket} can't be reached: {error.strerror}")
