"""Connections over TCP: how many are let in, who is let go, and how many files a process may open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from engine.service.listener import Listener

ASKED = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.asynccontextmanager
async def listening(most: int, asks_within_s: float = 3600.0) -> AsyncIterator[int]:
    """The port of a listener that answers "here"."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    listener = await Listener(web.AppRunner(app), most, asks_within_s).start("127.0.0.1", port)
    try:
        yield port
    finally:
        await listener.close()


class Caller:
    """A connection to the listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, port: int) -> AsyncIterator[Caller]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            await _closed(writer)

    async def ask(self) -> bytes:
        """The status line of the answer, which ends with "here" if it is the application's."""
        self.writer.write(ASKED)
        status = await self.reader.readline()
        if b" 200 " in status:
            await self.reader.readuntil(b"here")
        return status


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_one_too_many_is_told_so_and_gets_in_once_another_has_gone() -> None:
    async with listening(most=2) as port, Caller.at(port) as first:
        async with Caller.at(port) as second:
            assert b" 200 " in await first.ask()
            assert b" 200 " in await second.ask()

            async with Caller.at(port) as refused:
                told = await refused.reader.read()
            assert told.startswith(b"HTTP/1.1 503 ")
            head, _, words = told.partition(b"\r\n\r\n")
            assert f"Content-Length: {len(words)}".encode() in head
            assert b"Retry-After: 5" in head

        status = b""
        while b" 200 " not in status:  # until the listener has seen that the second one left
            async with Caller.at(port) as newcomer:
                status = await newcomer.ask()
        assert b" 200 " in await first.ask()


async def test_one_too_many_that_has_sent_its_question_hears_the_answer_and_no_reset() -> None:
    async with listening(most=1) as port, Caller.at(port) as first:
        assert b" 200 " in await first.ask()
        with socket.create_connection(("127.0.0.1", port)) as refused:
            refused.sendall(ASKED)  # by the kernel's word alone: the listener's loop stands still until now
            assert (await asyncio.to_thread(_all_of, refused)).startswith(b"HTTP/1.1 503 ")
        assert b" 200 " in await first.ask()


def _all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


async def test_of_very_many_too_many_most_are_hung_up_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.service.listener._MOST_PARTING", 0)
    async with listening(most=1) as port, Caller.at(port) as first:
        assert b" 200 " in await first.ask()
        async with Caller.at(port) as refused:
            assert (await refused.reader.read()).startswith(b"HTTP/1.1 503 ")


async def test_who_asks_for_nothing_is_let_go_and_who_has_asked_stays() -> None:
    async with (
        listening(most=10, asks_within_s=0.05) as port,
        Caller.at(port) as asker,
        Caller.at(port) as silent,
        Caller.at(port) as half,
    ):
        assert b" 200 " in await asker.ask()
        half.writer.write(ASKED[:20])

        assert await silent.reader.read() == b""
        assert await half.reader.read() == b""
        assert b" 200 " in await asker.ask()


def test_a_process_may_open_as_many_files_as_its_hard_limit_allows() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 900))\n"
        "from engine.service.listener import raise_file_limit\n"
        "print(raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["900", "900", "900"]
