"""Messages on a stream: a four-byte length, then msgpack. One side blocks (the worker), the other awaits (the engine)."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final, TypeVar

import msgspec

_PREFIX: Final = struct.Struct("<I")
MAX_FRAME_BYTES: Final = 256 << 20
"""Far above any real message; a larger length means that the stream is broken."""

T = TypeVar("T")


class BrokenStream(Exception):
    """The other side sent something that is not a frame."""


def encode_frame(message: object) -> bytes:
    """`message` as it goes over the stream."""
    body = msgspec.msgpack.encode(message)
    return _PREFIX.pack(len(body)) + body


def receive(stream: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    """The next message, or None at the end of the stream. Blocks."""
    prefix = _receive_exactly(stream, _PREFIX.size)
    if prefix is None:
        return None
    body = _receive_exactly(stream, _length(prefix))
    return None if body is None else decoder.decode(body)


async def read(stream: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    """The next message, or None at the end of the stream."""
    try:
        prefix = await stream.readexactly(_PREFIX.size)
        body = await stream.readexactly(_length(prefix))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return decoder.decode(body)


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


def _length(prefix: bytes | bytearray) -> int:
    length: int = _PREFIX.unpack(prefix)[0]
    if length > MAX_FRAME_BYTES:
        raise BrokenStream(f"a frame of {length} bytes was announced")
    return length
