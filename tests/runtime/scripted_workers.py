"""Workers and a RAM tier that do at once what they are asked, and die when they are told: for engines without torch."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path

from engine.core.forecast.footprints import RunPeaks
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.core.prediction import Rates
from engine.core.state import ModelState
from engine.core.tasks import (
    Classify,
    Continuation,
    Embed,
    Generate,
    LabelScores,
    Rerank,
    Scores,
    TaskPart,
    TaskResult,
    TextPart,
    TextTokens,
    Vectors,
)
from engine.recording.footprints import FootprintStore
from engine.runtime.ports import WorkerHandle
from engine.runtime.slab_store import Fetched, FetchReports, PassingFailure, SlabStore
from engine.weights.errors import ReadStopped
from engine.weights.integrity import SlabCondition
from engine.weights.layout import LAYOUT_VERSION, Layout
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.weights.sources import Source
from engine.worker.client import WorkerDied
from engine.worker.protocol import (
    Bind,
    Bound,
    Failure,
    LeaveRun,
    Ping,
    Pong,
    Prepare,
    Release,
    Released,
    Reply,
    Request,
    Run,
    RunEnded,
    SlabGrew,
    SlabStopped,
    Unlock,
    Unlocked,
    WorkerConfig,
    WorkerNews,
    WriteBack,
    WrittenBack,
)


class ScriptedWorker:
    """Answers everything; `hold` makes runs wait."""

    def __init__(self, pid: int, config: WorkerConfig) -> None:
        self.pid = pid
        self.config = config
        self.bound: dict[ModelName, int] = {}
        self.binds: list[Bind] = []
        """All that it was asked for."""
        self.unlocked: list[int] = []
        self.heard: list[WorkerNews] = []
        self.runs_by: WorkerHandle | None = None
        """Who carries its runs out in its place."""
        self.runs_out_of_memory = False
        self.dies_of_runs = False
        self.workspace_bytes: int | None = None
        """Beside the weights, what a run is found to take; each fills half of the model's limits."""
        self.device_s = 0.0
        """What a run takes of the device."""
        self.running = asyncio.Event()
        """Set when a run has begun."""
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.following = asyncio.Event()
        """Set when a load waits for the rest of its slab."""
        self._following: dict[int, Bind] = {}
        self._whole: dict[int, asyncio.Future[bool]] = {}
        """Whether the slab of each load that follows its reading came."""
        self._leaving: dict[int, asyncio.Event] = {}
        """Of runs under way: set when nobody waits for one any more."""
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def request(
        self,
        request: Request,
        on_advance: Callable[[float], None] = lambda _: None,
        on_part: Callable[[TaskPart], None] = lambda _: None,
    ) -> Reply:
        match request:
            case Bind():
                return await self._bind(request)
            case WriteBack():
                return WrittenBack(request.id, 0.001)
            case Release():
                del self.bound[request.model]
                return Released(request.id, 0.0, sum(self.bound.values()), 0)
            case Run():
                by = self.runs_by
                return await (by.request(request, on_advance, on_part) if by else self._run(request, on_part))
            case Ping():
                return Pong(request.id)
            case Unlock():
                self.unlocked.append(request.offset)
                return Unlocked(request.id)
            case Prepare():
                return Failure(request.id, "bad request", "the script prepares nothing")

    def tell(self, news: WorkerNews) -> None:
        self.heard.append(news)
        match news:
            case SlabGrew(bind, read_bytes):
                if read_bytes == self._following[bind].length:
                    self._whole[bind].set_result(True)
            case SlabStopped(bind):
                if not self._whole[bind].done():
                    self._whole[bind].set_result(False)
            case LeaveRun() if self.runs_by:
                self.runs_by.tell(news)
            case LeaveRun(run):
                if leaving := self._leaving.get(run):
                    leaving.set()

    async def _bind(self, request: Bind) -> Reply:
        """Ready as soon as the slab has been read."""
        self.binds.append(request)
        if request.read_bytes is not None:
            self._following[request.id] = request
            whole: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._whole[request.id] = whole
            self.following.set()
            await self._or_death(whole)
            if not whole.result():
                return Failure(request.id, "not read", "its slab did not come")
        self.bound[request.model] = request.length + request.workspace_bytes
        return Bound(request.id, 0.001, 0.001, 0.001, sum(self.bound.values()))

    async def _or_death(self, work: Awaitable[bool]) -> None:
        """Wait for `work`. Raises WorkerDied when the worker ends before that."""
        done: asyncio.Task[object] = asyncio.create_task(_awaited(work))
        end: asyncio.Task[object] = asyncio.create_task(self.died())
        await asyncio.wait([done, end], return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        end.cancel()
        if self._ended.done():
            raise WorkerDied(self._ended.result())

    async def _run(self, request: Run, on_part: Callable[[TaskPart], None]) -> Reply:
        """A prompt is written backwards, its first character before the run may finish, each of the others as a part then."""
        backwards = str(request.task.prompt)[::-1] if isinstance(request.task, Generate) else ""
        if backwards:
            on_part(TextPart(0, backwards[0]))
        leaving = self._leaving[request.id] = asyncio.Event()
        self.running.set()
        if self.dies_of_runs:
            self.kill()
        try:
            await self._or_death(_either(self.may_finish, leaving))
        finally:
            del self._leaving[request.id]
        if leaving.is_set():
            return Failure(request.id, "left", "nobody waited for it any more")
        if self.runs_out_of_memory:
            return Failure(request.id, "out of memory", "1 row needs 40 MiB, 10 MiB are free")
        for begin, character in enumerate(backwards[1:], 1):
            on_part(TextPart(begin, character))
            await asyncio.sleep(0)
        result: TaskResult
        match request.task:
            case Embed(texts=texts):
                result = Vectors(2, array("f", [figure for _ in texts for figure in (0.6, 0.8)]).tobytes())
            case Generate(prompt=prompt, max_tokens=max_tokens):
                result = Continuation(backwards, min(len(prompt), max_tokens))
            case Rerank(documents=documents):
                tokens = tuple(TextTokens(len(document), len(document)) for document in documents)
                result = Scores(tuple(float(len(document)) for document in documents), tokens)
            case Classify(texts=texts):
                tokens = tuple(TextTokens(len(text), len(text)) for text in texts)
                result = LabelScores(("short", "long"), tuple((0.75, 0.25) for _ in texts), tokens)
        return RunEnded(request.id, result, self.workspace_bytes, 0.5, device_s=self.device_s)

    async def died(self) -> str:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        if not self._ended.done():
            self._ended.set_result("killed by SIGKILL")

    async def close(self) -> None:
        if not self._ended.done():
            self._ended.set_result("exited with status 0")


async def _awaited(work: Awaitable[bool]) -> bool:
    return await work


async def _either(one: asyncio.Event, other: asyncio.Event) -> bool:
    """Wait until one of the two is set."""
    waits = [asyncio.create_task(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return True


class ScriptedSpawner:
    """Keeps the newest worker of each device."""

    def __init__(self) -> None:
        self.workers: dict[str | None, ScriptedWorker] = {}
        self.closed = False
        self.dies_of_runs = False
        """Whether those do that are yet to come."""
        self._pids = count(1000)

    async def spawn(self, config: WorkerConfig) -> ScriptedWorker:
        worker = self.workers[config.device] = ScriptedWorker(next(self._pids), config)
        worker.dies_of_runs = self.dies_of_runs
        return worker

    async def close(self) -> None:
        self.closed = True


class ScriptedFootprints(FootprintStore):
    """Keeps lessons until the test looks."""

    def __init__(self, models: Mapping[ModelName, ModelState]) -> None:
        super().__init__(Path("/nowhere"), models, "2.13.0+cpu")
        self.kept: asyncio.Queue[tuple[ModelName, str, RunPeaks]] = asyncio.Queue()
        self.kept_rates: dict[ModelName, dict[str, Rates]] = {}
        """When the engine ended."""

    async def keep(self, model: ModelName, kind: str, peaks: RunPeaks) -> None:
        self.kept.put_nowait((model, kind, peaks))

    async def keep_rates(self, models: Mapping[ModelName, ModelState]) -> None:
        self.kept_rates = {model: known.run_rates for model, known in models.items() if known.run_rates}


class ScriptedStore(SlabStore):
    """A RAM tier without memory: a fetch ends when `may_fetch` is set."""

    def __init__(self, specs: Mapping[ModelName, ModelSpec], sizes: Mapping[ModelName, int]) -> None:
        self._scripted_specs = dict(specs)
        self._sizes = defaultdict[ModelName, int](lambda: 1 << 20, sizes)
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()
        self.fetching = asyncio.Event()
        """Set when a fetch has begun."""
        self.failure: Exception | None = None
        """With which a fetch ends."""
        self.held: set[ModelName] = set()
        self.filling: dict[ModelName, int] = {}
        """Bytes that are there of slabs on their way."""
        self.given_up: list[Region] = []
        self.finding: SlabCondition = "whole"
        """What checks of slabs find."""
        self.checked: list[ModelName] = []
        self.replaced: set[ModelName] = set()
        """Prepared anew since they were read; a fetch reads what is there now."""
        self.reads: Counter[ModelName] = Counter()
        self.cached: frozenset[ModelName] = frozenset()
        """What the page cache holds."""
        self.free_bytes = 1 << 40
        """Of the arena."""

    def know(self, spec: ModelSpec, source: Source) -> None:
        self._scripted_specs[spec.name] = spec

    def forget(self, model: ModelName) -> None:
        del self._scripted_specs[model]

    def in_page_cache(self) -> frozenset[ModelName]:
        return self.cached

    def spec(self, model: ModelName) -> ModelSpec:
        return self._scripted_specs[model]

    def folder(self, model: ModelName) -> Path:
        return Path("/prepared") / model

    def region(self, model: ModelName) -> Region | None:
        return Region(0, self._sizes[model]) if model in self.held or model in self.filling else None

    def origin(self, model: ModelName) -> Prepared:
        layout = Layout(LAYOUT_VERSION, "BertModel", "path:/x", {}, (), (), 0, self._sizes[model], "")
        folder = self.folder(model)
        return Prepared(folder, folder / "slab", 0, self._sizes[model], layout, f"layout-{self.reads[model]}", (0, 0))

    def is_replaced(self, model: ModelName) -> bool:
        return model in self.replaced and model in self.held

    def read_bytes(self, model: ModelName) -> int | None:
        return self.filling.get(model)

    def allocate(self, model: ModelName, length: int) -> Region:
        if length > self.free_bytes:
            raise PassingFailure(f"the RAM tier has no room in one piece for {model}")
        return Region(0, length)

    def keep(self, model: ModelName, region: Region) -> None:
        self.held.add(model)

    def take(self, model: ModelName) -> Region | None:
        self.held.discard(model)
        return None

    def give_up(self, region: Region) -> None:
        self.given_up.append(region)

    async def verify(self, model: ModelName, stop: threading.Event) -> SlabCondition:
        self.checked.append(model)
        return self.finding

    def stop(self, model: ModelName) -> None:
        self.failure = ReadStopped("taken back")
        self.may_fetch.set()

    def close(self) -> None:
        self.held.clear()

    async def fetch(self, model: ModelName, reports: FetchReports) -> Fetched:
        self.filling[model] = 0
        self.fetching.set()
        self.reads[model] += 1
        try:
            reports.opened("disk", Region(0, self._sizes[model]))
            await self.may_fetch.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            del self.filling[model]
        self.held.add(model)
        self.replaced.discard(model)
        return Fetched("disk", self._sizes[model])
