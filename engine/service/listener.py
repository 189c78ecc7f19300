"""The connections of applications over TCP: so many at most, and none that asks for nothing.

Each connection takes one of the files that the process may open, and needs no key for that. Whoever took them all would keep out
the console and the workers, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from typing import Final, Self

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

MOST_FILES: Final = 1 << 16
"""Some systems set no limit worth the name, and programs that go through all files would take long."""
_SHARE_OF_FILES: Final = 0.75
_ASKS_WITHIN_S: Final = 30.0
"""Who has not sent the head of a request for so long, at most twice as long, is let go."""
_BACKLOG: Final = 1024
_PARTS_WITHIN_S: Final = 1.0
_MOST_PARTING: Final = 256
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n"
    b"Connection: close\r\n\r\nToo many connections are open; try again shortly.\n"
)


def raise_file_limit() -> int:
    """Let the process open as many files as it may, at most MOST_FILES, and tell how many; shells start with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


class Listener:
    """Serves an application at a TCP address."""

    def __init__(self, runner: web.AppRunner, most: int | None = None, asks_within_s: float = _ASKS_WITHIN_S) -> None:
        """At most `most` connections at once, by default three quarters of the files that the process may open."""
        self._runner: Final = runner
        self._most: Final = most or int(raise_file_limit() * _SHARE_OF_FILES)
        self._asks_within_s: Final = asks_within_s
        self._asked: set[RequestHandler] = set()
        self._parting: Final[set[asyncio.Transport]] = set()
        """Those that were told that there are too many."""
        self._stack: Final = contextlib.AsyncExitStack()
        runner.app.middlewares.insert(0, self._note)

    async def start(self, host: str, port: int) -> Self:
        """Raises OSError where nothing can listen there, and OverflowError for a port that there is not."""
        self._stack.push_async_callback(self._runner.cleanup)
        try:
            await self._runner.setup()
            loop = asyncio.get_running_loop()
            listening = await loop.create_server(self._let_in, host, port, backlog=_BACKLOG)
        except BaseException:
            await self.close()
            raise
        self._stack.callback(listening.close)
        watching = asyncio.create_task(self._watch(), name="silent connections")
        self._stack.callback(watching.cancel)
        return self

    async def close(self) -> None:
        """Nobody new; who is served gets the runner's time to finish."""
        await self._stack.aclose()

    def _let_in(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None  # set up before anything listens
        return server() if len(server.connections) < self._most else _Full(self._parting)

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._asked.add(request.protocol)
        return await handler(request)

    async def _watch(self) -> None:
        silent: set[RequestHandler] = set()
        while True:
            await asyncio.sleep(self._asks_within_s)
            server = self._runner.server
            connected = set(server.connections) if server is not None else set()
            self._asked &= connected
            for connection in (silent & connected) - self._asked:
                connection.force_close()
            silent = connected - self._asked


class _Full(asyncio.Protocol):
    """Says so, and hangs up: a moment later, since who is hung up on before what it sends was read hears of a reset alone. Where
    many part so already, at once."""

    def __init__(self, parting: set[asyncio.Transport]) -> None:
        self._parting: Final = parting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_FULL)
        if len(self._parting) < _MOST_PARTING:
            self._parting.add(transport)
            transport.write_eof()
            asyncio.get_running_loop().call_later(_PARTS_WITHIN_S, transport.close)
        else:
            transport.close()

    def eof_received(self) -> None:
        """It has heard; that closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._parting.discard(self._transport)
