"""Worker processes on cards of the stand-in, and what is asked of them."""

from __future__ import annotations

import threading
from itertools import count
from typing import Final

from engine.core.models import Limits
from engine.core.sizes import MIB
from engine.core.tasks import Embed, Vectors
from engine.weights.arena import Arena
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.client import WorkerProcess
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import (
    ArenaSize,
    Bind,
    Failure,
    Release,
    Released,
    Reply,
    Run,
    RunEnded,
    Unlock,
    WorkerConfig,
)

SLICE_BYTES: Final = 1536 * MIB
WORKSPACE_BYTES: Final = 16 * MIB
TEXTS: Final = ["a cat", "a kitten", "a stock market"]


class Workers:
    """Starts workers, and ends all of them with the test. They share one slab of the RAM tier."""

    def __init__(self, server: ForkServer, arena: Arena, prepared: Prepared) -> None:
        self._server: Final = server
        self._arena: Final = arena
        self._prepared: Final = prepared
        self._started: Final[list[WorkerProcess]] = []
        region = arena.allocate(prepared.length)
        assert region is not None
        arena.read_file(prepared.slab_path, prepared.data_offset, region, lambda _: None, threading.Event())
        self.region: Final = region

    async def start(self, card: int = 0, backing: str = "cuda") -> CardWorker:
        """A worker of the card; its context is made by its first load."""
        name = f"cuda:{card}" if backing == "cuda" else backing
        size = ArenaSize(self._arena.size_bytes)
        process = await self._server.spawn(WorkerConfig(f"gpu{card}", name, SLICE_BYTES, size, page_locks=True))
        self._started.append(process)
        return CardWorker(process, self._prepared, self.region)

    async def close(self) -> None:
        while self._started:
            await self._started.pop().close()


class CardWorker:
    """One worker, with the model's requests."""

    _ids: Final = count(1)

    def __init__(self, process: WorkerProcess, prepared: Prepared, region: Region) -> None:
        self.process: Final = process
        self._prepared: Final = prepared
        self._region: Final = region

    @property
    def pid(self) -> int:
        return self.process.pid

    async def bind(self, model: str = "m") -> Reply:
        made = (str(self._prepared.folder), self._prepared.layout_id)
        place = (self._region.offset, self._region.length, WORKSPACE_BYTES)
        return await self.process.request(Bind(next(self._ids), model, *made, *place, "embedding", Limits()))

    async def embed(self, model: str = "m") -> Reply:
        return await self.process.request(Run(next(self._ids), model, Embed(tuple(TEXTS))))

    async def release(self, model: str = "m") -> Reply:
        return await self.process.request(Release(next(self._ids), model))

    async def unlock(self) -> Reply:
        """The slab's page-lock, which outlives a load."""
        return await self.process.request(Unlock(next(self._ids), self._region.offset, self._region.length))

    async def answer(self, model: str = "m") -> bytes:
        """The vectors of the loaded model, which it must be able to make."""
        figures = figures_of(reply := await self.embed(model))
        assert figures is not None, reply
        return figures

    async def released(self, model: str = "m") -> Released:
        """After an eviction, which must succeed."""
        released = await self.release(model)
        assert isinstance(released, Released), released
        return released


def is_clear_shortage(reply: Reply) -> bool:
    """Whether it says in a person's words that memory lacks, and not in a thousand of torch's."""
    return isinstance(reply, Failure) and reply.kind == "out of memory" and len(reply.message) < 600


def figures_of(reply: Reply) -> bytes | None:
    """The vectors that a run has given; None of any other answer."""
    return reply.result.figures if isinstance(reply, RunEnded) and isinstance(reply.result, Vectors) else None
