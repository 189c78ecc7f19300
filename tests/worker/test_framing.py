from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from engine.worker.framing import BrokenStream, encode_frame, read, receive
from engine.worker.protocol import Embed, Release, Request

DECODER: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
MESSAGES = (Release(1, "m"), Embed(2, "m", ["text" * 100_000, ""]))


def test_frames_arrive_whole_and_in_order_at_the_blocking_side() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(encode_frame(MESSAGES[0]))
        assert receive(ours, DECODER) == MESSAGES[0]
        theirs.shutdown(socket.SHUT_WR)
        assert receive(ours, DECODER) is None


async def test_frames_arrive_whole_and_in_order_at_the_awaiting_side() -> None:
    stream = asyncio.StreamReader()
    for byte in range(0, len(data := b"".join(map(encode_frame, MESSAGES))), 1000):
        stream.feed_data(data[byte : byte + 1000])
    stream.feed_eof()
    assert [await read(stream, DECODER), await read(stream, DECODER)] == [*MESSAGES]
    assert await read(stream, DECODER) is None


async def test_a_frame_that_was_cut_short_is_the_end() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(encode_frame(MESSAGES[0])[:-1])
    stream.feed_eof()
    assert await read(stream, DECODER) is None


def test_nonsense_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\xff" * 8)
        with pytest.raises(BrokenStream, match="4294967295 bytes"):
            receive(ours, DECODER)
