"""Clients that hang up, over a real socket: wherever their request is by then, it is dropped, and its lease ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from engine.api import Overloaded, Updated
from engine.client import RemoteEngine
from engine.core.commands import Load, Submission
from engine.core.state import State
from engine.core.tasks import Embed, Generate, Task
from engine.paths import Paths
from engine.scheduler.board import Patience, QueueBounds
from engine.transport import HttpRequest
from engine.wire import RunRequest
from engine.worker.protocol import LeaveRun
from tests.runtime.live_engines import Box, scripted_engine
from tests.service.serving import serving

MINILM, PHI = "all-MiniLM-L6-v2", "phi-3-mini"
ONE_ROW = Patience(queue=QueueBounds(rows=1))


@contextlib.asynccontextmanager
async def served(paths: Paths, patience: Patience | None = None) -> AsyncIterator[Box]:
    paths.journal.mkdir(parents=True)
    async with scripted_engine(paths.journal, patience=patience) as box, serving(box.engine, paths):
        yield box


async def hang_up_after(paths: Paths, model: str, task: Task, event: Callable[[], Awaitable[object]]) -> None:
    """Ask, and close the connection without having read a byte, once that has happened."""
    _reader, writer = await asyncio.open_unix_connection(paths.socket)
    writer.write(HttpRequest("POST", "/v1/run", msgspec.json.encode(RunRequest(model, task))).encode())
    await event()
    writer.close()
    await writer.wait_closed()


async def until(box: Box, holds: Callable[[State], bool]) -> None:
    async for event in box.engine.events():
        if isinstance(event, Updated) and holds(event.snapshot.state):
            return


async def test_a_client_that_hangs_up_before_its_first_part_ends_its_run_and_its_lease(paths: Paths) -> None:
    async with served(paths) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        await hang_up_after(paths, MINILM, Embed(("a",)), worker.running.wait)

        await until(box, lambda state: not any(r.leases for r in state.of(MINILM)))
        assert sum(isinstance(news, LeaveRun) for news in worker.heard) == 1


async def test_a_client_that_hangs_up_in_the_middle_of_a_text_ends_its_run_and_its_lease(paths: Paths) -> None:
    async with served(paths) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = RemoteEngine(paths.socket).run(PHI, Generate("abc"))
        await anext(run)
        await run.aclose()

        await until(box, lambda state: not any(r.leases for r in state.of(PHI)))
        assert sum(isinstance(news, LeaveRun) for news in worker.heard) == 1


async def test_a_client_that_hangs_up_while_its_model_loads_never_gets_a_lease(paths: Paths) -> None:
    async with served(paths) as box:
        box.store.may_fetch.clear()
        await hang_up_after(paths, MINILM, Embed(("a",)), box.store.fetching.wait)
        box.store.may_fetch.set()

        # The load has begun, and goes on.
        await until(box, lambda state: any(r.stage == "ready" for r in state.of(MINILM)))
        assert not any(worker.running.is_set() for worker in box.spawner.workers.values())
        assert not any(r.leases for r in (await box.engine.snapshot()).state.of(MINILM))


async def test_sixty_clients_that_hang_up_keep_nobody_waiting(paths: Paths) -> None:
    async with served(paths) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()

        # Seen once for all of them: whoever looked later might see the first ones gone already.
        seen = asyncio.create_task(until(box, lambda state: sum(r.leases for r in state.of(MINILM)) == 60))

        async def all_run() -> None:
            await seen

        await asyncio.gather(*(hang_up_after(paths, MINILM, Embed(("a",)), all_run) for _ in range(60)))

        await until(box, lambda state: not any(r.leases for r in state.of(MINILM)))
        worker.may_finish.set()
        assert (await RemoteEngine(paths.socket).embed(MINILM, ["a"])).vectors


async def test_who_comes_to_a_full_queue_is_told_when_to_ask_again_and_is_served_after_it(paths: Paths) -> None:
    async with served(paths, ONE_ROW) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        client = RemoteEngine(paths.socket)
        first = asyncio.create_task(client.embed(MINILM, ["a", "b"]))  # more than is taken at once, but alone
        await worker.running.wait()

        with pytest.raises(
            Overloaded, match="2 rows of 1 request wait or run, this one has 1, and 1 are taken"
        ) as told:
            await client.embed(MINILM, ["c"])
        assert told.value.retry_after_s >= 1

        reader, writer = await asyncio.open_unix_connection(paths.socket)
        writer.write(HttpRequest("POST", "/v1/run", msgspec.json.encode(RunRequest(MINILM, Embed(("c",))))).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        assert " 429 " in head
        assert f"Retry-After: {told.value.retry_after_s:.0f}" in head

        worker.may_finish.set()
        assert len((await first).vectors) == 2
        assert (await client.embed(MINILM, ["c"])).vectors
