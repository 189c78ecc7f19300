"""Messages on a stream, whole or cut anywhere, and streams that can't be understood any more."""

from __future__ import annotations

import asyncio
import socket

import pytest

from engine.core.tasks import Embed
from engine.worker.framing import BrokenStream, FrameStream, encode_frame, receive
from engine.worker.protocol import Release, Request, Run

MESSAGES = (Release(1, "m"), Run(2, "m", Embed(("text" * 100_000, ""))))


def test_frames_arrive_whole_and_in_order_at_the_blocking_side() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(encode_frame(MESSAGES[0]))
        assert receive(ours, Request) == MESSAGES[0]
        theirs.shutdown(socket.SHUT_WR)
        assert receive(ours, Request) is None


async def listening() -> tuple[list[Request], FrameStream[Request], socket.socket]:
    ours, theirs = socket.socketpair()
    heard: list[Request] = []
    stream = FrameStream(Request, heard.append)
    await stream.connect(ours)
    return heard, stream, theirs


async def test_frames_arrive_whole_and_in_order_at_the_awaiting_side() -> None:
    heard, stream, theirs = await listening()
    with theirs:
        theirs.setblocking(False)
        for byte in range(0, len(data := b"".join(map(encode_frame, MESSAGES))), 1000):
            await asyncio.get_running_loop().sock_sendall(theirs, data[byte : byte + 1000])
    await stream.ended
    assert heard == [*MESSAGES]


async def test_frames_that_come_together_are_heard_together() -> None:
    heard, stream, theirs = await listening()
    with theirs:
        theirs.sendall(encode_frame(MESSAGES[0]) * 3)
    await stream.ended
    assert heard == [MESSAGES[0]] * 3


async def test_a_frame_that_was_cut_short_is_the_end() -> None:
    heard, stream, theirs = await listening()
    with theirs:
        theirs.sendall(encode_frame(MESSAGES[0])[:-1])
    await stream.ended
    assert not heard


async def test_what_is_sent_soon_goes_out_together_at_the_end_of_the_turn_and_before_what_comes_later() -> None:
    _, stream, theirs = await listening()
    first, second = Release(1, "m"), Release(2, "m")
    with theirs:
        theirs.setblocking(False)
        stream.send_soon(first)
        stream.send_soon(second)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        await asyncio.sleep(0)
        assert theirs.recv(1 << 16) == encode_frame(first) + encode_frame(second)

        stream.send_soon(second)
        stream.send(first)
        stream.send_soon(first)
        stream.send_end()
        assert theirs.recv(1 << 16) == encode_frame(second) + encode_frame(first) * 2


async def test_what_is_sent_after_the_end_goes_nowhere() -> None:
    _, stream, theirs = await listening()
    theirs.close()
    await stream.ended
    stream.send(MESSAGES[0])
    stream.send_end()


async def test_nothing_is_sent_once_the_end_was_said_and_answers_still_come() -> None:
    heard, stream, theirs = await listening()
    with theirs:
        stream.send_end()
        stream.send(MESSAGES[0])
        stream.send_end()
        assert receive(theirs, Request) is None
        theirs.sendall(encode_frame(MESSAGES[0]))
    await stream.ended
    assert heard == [MESSAGES[0]]


@pytest.mark.parametrize(("nonsense", "why"), [(b"\xff" * 8, "4294967295 bytes"), (b"\x03\x00\x00\x00abc", "Expected")])
async def test_nonsense_ends_the_awaiting_side_after_what_made_sense(nonsense: bytes, why: str) -> None:
    heard, stream, theirs = await listening()
    with theirs:
        theirs.sendall(encode_frame(MESSAGES[0]) + nonsense)
        with pytest.raises(BrokenStream, match=why):
            await stream.ended
    assert heard == [MESSAGES[0]]


def test_nonsense_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\xff" * 8)
        with pytest.raises(BrokenStream, match="4294967295 bytes"):
            receive(ours, Request)
