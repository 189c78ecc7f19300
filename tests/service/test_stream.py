"""Streams of events and of runs: slow readers, silence, and connections that break in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from engine.api import PROTOCOL, CannotServe, EngineUnreachable, Event, Snapshot, Updated
from engine.client import RemoteEngine
from engine.core.names import ModelName
from engine.core.tasks import Generate, RunEvent, RunResult, Task, TextPart
from engine.paths import Paths
from engine.service.routes import send_lines
from engine.transport import HttpRequest
from engine.wire import PROTOCOL_HEADER
from tests.scripted_engine import ScriptedEngine, vectors_of
from tests.service.serving import serving

_T = TypeVar("_T")

CHANGES = 3000
HEAD = f"HTTP/1.0 200 OK\r\n{PROTOCOL_HEADER}: {PROTOCOL}\r\n".encode()


async def test_a_slow_reader_misses_old_snapshots_and_gets_the_newest(
    scripted: ScriptedEngine, remote: RemoteEngine, paths: Paths
) -> None:
    reader, writer = await asyncio.open_unix_connection(paths.socket, limit=1 << 20)
    writer.write(HttpRequest("GET", "/v1/events").encode())
    await reader.readuntil(b"\r\n\r\n")
    state = (await scripted.snapshot()).state
    for _ in range(CHANGES):
        scripted.set_state(state)
        await asyncio.sleep(0)
    try:
        seen = [snapshot.seq async for snapshot in _snapshots(reader, until=CHANGES)]
    finally:
        writer.close()
    assert seen[-1] == CHANGES
    assert len(seen) < CHANGES / 4


async def test_a_stream_with_nothing_to_say_is_kept_alive_by_blank_lines() -> None:
    async def quiet() -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Updated(await ScriptedEngine().snapshot())

    async def handler(request: web.Request) -> web.StreamResponse:
        return await send_lines(request, quiet(), keep_alive_s=0.001)

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, ClientSession() as session, session.get(server.make_url("/")) as response:
        assert [await response.content.readline() for _ in range(3)] == [b"\n"] * 3


async def test_a_blank_line_is_a_sign_of_life_and_what_came_while_this_process_stood_still_is_heard_first(
    paths: Paths,
) -> None:
    now_s = [100.0]
    engine, loop = RemoteEngine(paths.socket, monotonic=lambda: now_s[0]), asyncio.get_running_loop()
    paths.run.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(paths.socket))
        listener.listen()
        following = asyncio.ensure_future(anext(engine.events()))
        peer, _ = await loop.sock_accept(listener)
        with peer:
            now_s[0] += 5
            assert engine.silent_s == 5.0
            await loop.sock_sendall(peer, HEAD + b"\r\n\n")
            while engine.silent_s:  # noqa: ASYNC110 - what the loop reads next is what is waited for
                await asyncio.sleep(0)

            # As after SIGCONT: what has come lies in the socket, and a timer is long due.
            now_s[0] += 60
            peer.send(b"\n")
            seen = loop.create_future()
            loop.call_later(0, lambda: seen.set_result(engine.silent_s))
            assert await seen == 0.0
            now_s[0] += 3
            assert engine.silent_s == 3.0
            following.cancel()


async def test_a_line_costs_a_write_and_neither_a_task_nor_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    made = Counter[str]()

    def counted_task(
        _loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, _T] | Generator[Any, None, _T]
    ) -> asyncio.Future[_T]:
        made["tasks"] += 1
        return asyncio.Task(work, loop=loop)

    def counted_timer(when: float, callback: Callable[..., object], *given: object) -> asyncio.TimerHandle:
        made["timers"] += 1
        return call_at(when, callback, *given)

    call_at = loop.call_at
    monkeypatch.setattr(loop, "call_at", counted_timer)
    loop.set_task_factory(counted_task)

    async def costs(parts: int) -> Counter[str]:
        """Of a whole answer of so many parts, each of which is waited for."""

        async def spoken() -> AsyncGenerator[TextPart, None]:
            for number in range(parts):
                await asyncio.sleep(0)
                yield TextPart(number, "a")

        async def handler(request: web.Request) -> web.StreamResponse:
            made.clear()
            answer = await send_lines(request, spoken())
            counted.update(made)
            return answer

        counted = Counter[str]()
        app = web.Application()
        app.router.add_get("/", handler)
        async with TestServer(app) as server, ClientSession() as session, session.get(server.make_url("/")) as response:
            assert (await response.read()).count(b"\n") == parts
        return counted

    # What the reader on the same loop makes for itself is a matter of how much comes at once, so only a bound can be said.
    few, many = await costs(10), await costs(500)
    assert many["tasks"] == few["tasks"]
    assert many["timers"] < few["timers"] + 50


class Breaking(ScriptedEngine):
    """Its runs say one part and fail."""

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        yield TextPart(0, "Once")
        raise CannotServe(f"{model} found no room for more")


async def test_a_run_that_fails_after_its_first_part_fails_with_the_same_words_over_the_socket(paths: Paths) -> None:
    async with serving(Breaking(), paths):
        run = RemoteEngine(paths.socket).run("phi-3-mini", Generate("a"))
        assert await anext(run) == TextPart(0, "Once")
        with pytest.raises(CannotServe, match="phi-3-mini found no room for more"):
            await anext(run)


async def test_parts_arrive_before_the_result_is_there_and_who_leaves_ends_the_engines_waiting(paths: Paths) -> None:
    left = asyncio.Event()

    class Slow(ScriptedEngine):
        async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
            try:
                yield TextPart(0, "Once")
                await asyncio.Event().wait()
            finally:
                left.set()

    async with serving(Slow(), paths):
        run = RemoteEngine(paths.socket).run("phi-3-mini", Generate("a"))
        assert await anext(run) == TextPart(0, "Once")
        assert not left.is_set()
        await run.aclose()
        await left.wait()


async def test_an_engine_that_dies_in_the_middle_of_a_run_is_unreachable(paths: Paths) -> None:
    async with _peer(paths, HEAD + b'\r\n{"type":"text","begin":0,"text":"Once"}\n{"type":"resu'):
        run = RemoteEngine(paths.socket).run("phi-3-mini", Generate("a"))
        await anext(run)
        with pytest.raises(EngineUnreachable, match="went while phi-3-mini ran"):
            await anext(run)


async def test_a_result_larger_than_any_request_may_be_arrives(paths: Paths) -> None:
    rows = [[0.5] * 1000] * 5000

    class Wide(ScriptedEngine):
        async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
            yield RunResult(model, "cpu", vectors_of(rows), 0.1)

    async with serving(Wide(), paths):
        assert (await RemoteEngine(paths.socket).embed("bge-base", ["a"])).vectors == rows


async def test_an_engine_that_dies_in_the_middle_of_an_event_is_unreachable(paths: Paths) -> None:
    async with _peer(paths, HEAD + b'\r\n{"type":"upda'):
        with pytest.raises(EngineUnreachable, match="start it again"):
            await anext(RemoteEngine(paths.socket).events())


async def test_an_engine_that_dies_in_the_middle_of_an_answer_is_unreachable(paths: Paths) -> None:
    async with _peer(paths, HEAD + b'Content-Length: 900\r\n\r\n{"protocol":'):
        with pytest.raises(EngineUnreachable, match="while it answered"):
            await RemoteEngine(paths.socket).hello()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 200", b"nonsense\r\n\r\n"])
async def test_something_else_at_the_socket_is_no_engine(paths: Paths, answer: bytes) -> None:
    async with _peer(paths, answer):
        with pytest.raises(EngineUnreachable, match="without an answer"):
            await RemoteEngine(paths.socket).hello()


async def test_an_engine_of_another_version_is_told_apart(paths: Paths) -> None:
    async with _peer(paths, HEAD.replace(f": {PROTOCOL}".encode(), f": {PROTOCOL + 1}".encode()) + b"\r\n{}"):
        with pytest.raises(
            EngineUnreachable, match=rf"version {PROTOCOL} .* version {PROTOCOL + 1}; restart .*`citadel stop`"
        ):
            await RemoteEngine(paths.socket).snapshot()


@contextlib.asynccontextmanager
async def _peer(paths: Paths, answer: bytes) -> AsyncIterator[None]:
    """Something at the socket that reads a request, says `answer` and hangs up."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    paths.run.mkdir(mode=0o700)
    server = await asyncio.start_unix_server(reply, paths.socket)
    async with server:
        yield


async def _snapshots(reader: asyncio.StreamReader, until: int) -> AsyncIterator[Snapshot]:
    decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
    while True:
        event = decoder.decode(await reader.readline())
        assert isinstance(event, Updated)
        yield event.snapshot
        if event.snapshot.seq >= until:
            return
