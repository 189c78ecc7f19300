"""Messages on a stream: a four-byte length, then msgpack. One side blocks (the worker), the other awaits (the engine)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from engine.core.serialization import Undecodable, from_msgpack, to_msgpack

_PREFIX: Final = struct.Struct("<I")
MAX_FRAME_BYTES: Final = 256 << 20
"""Far above any real message; a larger length means that the stream is broken."""

_T = TypeVar("_T")


class BrokenStream(Exception):
    """The other side sent something that is not a frame."""


def encode_frame(message: object) -> bytes:
    """`message` as it goes over the stream."""
    body = to_msgpack(message)
    return _PREFIX.pack(len(body)) + body


def receive(stream: socket.socket, kind: Any) -> Any:  # noqa: ANN401 - the kinds of messages are unions, which have no type
    """The next message, or None at the end of the stream. Blocks. Raises BrokenStream."""
    prefix = _receive_exactly(stream, _PREFIX.size)
    if prefix is None:
        return None
    body = _receive_exactly(stream, _length(prefix))
    return None if body is None else _message(body, kind)


class FrameStream(asyncio.Protocol, Generic[_T]):
    """The awaiting side. Each message is passed to `hear` in the very turn of the loop that its last byte comes in: a load waits
    for that. A task that awaits a StreamReader is woken a turn or two later, behind whatever else is due in them."""

    def __init__(self, kind: Any, hear: Callable[[_T], None]) -> None:  # noqa: ANN401
        self._kind: Final = kind
        self._hear: Final = hear
        self._received: Final = bytearray()
        self._transport: asyncio.Transport | None = None
        self._may_send = False
        self._unsent: Final = bytearray()
        """What goes out at the end of this turn of the loop."""
        self.ended: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        """Done when the stream has ended; raises BrokenStream where it could not be understood any more."""

    async def connect(self, stream: socket.socket) -> None:
        """Begin to listen. `stream` belongs to this object from now on."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=stream)

    def send(self, message: object) -> None:
        """Nothing happens after `send_end`, or when the other side has gone: the stream's end says so."""
        self._unsent.extend(encode_frame(message))
        self._send_unsent()

    def send_soon(self, message: object) -> None:
        """The same, together with what else is sent so in this turn of the loop: each word by itself would wake the other side,
        which costs more than to say it."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send_unsent)
        self._unsent.extend(encode_frame(message))

    def _send_unsent(self) -> None:
        if self._unsent and self._may_send:
            assert self._transport is not None
            self._transport.write(bytes(self._unsent))
        self._unsent.clear()

    def send_end(self) -> None:
        """Say that no more will come; the other side may still answer."""
        self._send_unsent()
        if self._may_send:
            assert self._transport is not None
            self._may_send = False
            self._transport.write_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._may_send = True

    def data_received(self, data: bytes) -> None:
        self._received.extend(data)
        try:
            while (message := self._next_body()) is not None:
                self._hear(_message(message, self._kind))
        except BrokenStream as error:
            # Where the next frame begins can't be known any more, so nothing that comes can be believed.
            assert self._transport is not None
            self._may_send = False
            self._transport.abort()
            if not self.ended.done():
                self.ended.set_exception(error)

    def connection_lost(self, _error: Exception | None) -> None:
        self._may_send = False
        if not self.ended.done():
            self.ended.set_result(None)

    def _next_body(self) -> bytes | None:
        """Of a message that has come whole."""
        if len(self._received) < _PREFIX.size:
            return None
        end = _PREFIX.size + _length(self._received[: _PREFIX.size])
        if len(self._received) < end:
            return None
        body = bytes(self._received[_PREFIX.size : end])
        del self._received[:end]
        return body


def _receive_exactly(stream: socket.socket, count: int) -> bytearray | None:
    buffer = bytearray(count)
    with memoryview(buffer) as view:
        done = 0
        while done < count:
            try:
                received = stream.recv_into(view[done:])
            except ConnectionError:
                return None
            if received == 0:
                return None
            done += received
    return buffer


def _message(body: bytes | bytearray, kind: Any) -> Any:  # noqa: ANN401
    try:
        return from_msgpack(body, kind)
    except Undecodable as error:
        raise BrokenStream(f"a frame is no message: {error}") from error


def _length(prefix: bytes | bytearray) -> int:
    length: int = _PREFIX.unpack(prefix)[0]
    if length > MAX_FRAME_BYTES:
        raise BrokenStream(f"a frame of {length} bytes was announced")
    return length
