"""Workers and a RAM tier that do at once what they are asked, and die when they are told: for engines without torch."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.runtime.slabs import Fetched, SlabStore
from engine.weights.regions import Region
from engine.worker.client import WorkerDied
from engine.worker.protocol import (
    Bind,
    Bound,
    Embed,
    Embedded,
    Failure,
    Generate,
    Generated,
    Prepare,
    Release,
    Released,
    Reply,
    Request,
    Unlock,
    Unlocked,
    WorkerConfig,
)


class ScriptedWorker:
    """Answers everything; `hold` makes runs wait."""

    def __init__(self, pid: int, config: WorkerConfig) -> None:
        self.pid = pid
        self.config = config
        self.bound: dict[ModelName, int] = {}
        self.unlocked: list[int] = []
        self.runs_out_of_memory = False
        self.running = asyncio.Event()
        """Set when a run has begun."""
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def request(self, request: Request, on_advance: Callable[[float], None] | None = None) -> Reply:
        match request:
            case Bind():
                self.bound[request.model] = request.length + request.workspace_bytes
                return Bound(request.id, 0.001, 0.001, 0.001, sum(self.bound.values()))
            case Release():
                del self.bound[request.model]
                return Released(request.id, 0.0, sum(self.bound.values()), 0)
            case Embed() | Generate():
                return await self._run(request)
            case Unlock():
                self.unlocked.append(request.offset)
                return Unlocked(request.id)
            case Prepare():
                return Failure(request.id, "bad request", "the script prepares nothing")

    async def _run(self, request: Embed | Generate) -> Reply:
        self.running.set()
        finish: asyncio.Task[object] = asyncio.create_task(self.may_finish.wait())
        end: asyncio.Task[object] = asyncio.create_task(self.died())
        await asyncio.wait([finish, end], return_when=asyncio.FIRST_COMPLETED)
        finish.cancel()
        end.cancel()
        if self._ended.done():
            raise WorkerDied(self._ended.result())
        if self.runs_out_of_memory:
            return Failure(request.id, "out of memory", "1 row needs 40 MiB, 10 MiB are free")
        if isinstance(request, Generate):
            return Generated(request.id, request.prompt[::-1], min(len(request.prompt), request.max_tokens))
        vectors = array("f", [x for _ in request.texts for x in (0.6, 0.8)])
        return Embedded(request.id, 2, vectors.tobytes())

    async def died(self) -> str:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        if not self._ended.done():
            self._ended.set_result("killed by SIGKILL")

    async def close(self) -> None:
        if not self._ended.done():
            self._ended.set_result("exited with status 0")


class ScriptedSpawner:
    """Keeps the newest worker of each device."""

    def __init__(self) -> None:
        self.workers: dict[str | None, ScriptedWorker] = {}
        self.closed = False
        self._pids = count(1000)

    async def spawn(self, config: WorkerConfig) -> ScriptedWorker:
        worker = self.workers[config.device] = ScriptedWorker(next(self._pids), config)
        return worker

    async def close(self) -> None:
        self.closed = True


class ScriptedStore(SlabStore):
    """A RAM tier without memory: a fetch ends when `may_fetch` is set."""

    def __init__(self, specs: Mapping[ModelName, ModelSpec], sizes: Mapping[ModelName, int]) -> None:
        self._scripted_specs = specs
        self._sizes = sizes
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()
        self.held: set[ModelName] = set()

    def spec(self, model: ModelName) -> ModelSpec:
        return self._scripted_specs[model]

    def folder(self, model: ModelName) -> Path:
        return Path("/prepared") / model

    def region(self, model: ModelName) -> Region:
        assert model in self.held
        return Region(0, self._sizes[model])

    def take(self, model: ModelName) -> Region | None:
        self.held.discard(model)
        return None

    def stop(self, model: ModelName) -> None:
        self.may_fetch.set()

    def close(self) -> None:
        self.held.clear()

    async def fetch(self, model: ModelName, on_progress: Callable[[float], None]) -> Fetched:
        on_progress(0.5)
        await self.may_fetch.wait()
        self.held.add(model)
        return Fetched("disk", self._sizes[model], 0.001)
