"""The models that are on the worker's device: bringing them there, running them, and giving their memory back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, TypeAlias, assert_never

from msgspec import Struct
from transformers import PreTrainedTokenizerBase

from engine.core.names import ModelName
from engine.weights.regions import Region
from engine.worker.binding import bind, unbind
from engine.worker.embedding import Embedder
from engine.worker.errors import BadRequest, NotResident
from engine.worker.generation import Generator
from engine.worker.memory import Backing, Placement
from engine.worker.pooling import read_pooling
from engine.worker.protocol import Bind, Bound, Release, Released, Unlock, Unlocked
from engine.worker.running import Measurement, RunMemory
from engine.worker.skeleton import Skeleton
from engine.worker.text import load_tokenizer

Runner: TypeAlias = Embedder | Generator


class BoundModel(Struct, frozen=True):
    """A model that can run."""

    skeleton: Skeleton
    placement: Placement
    runner: Runner
    lane: ThreadPoolExecutor
    """One thread of its own, so that its runs wait neither for loads nor for other models."""


class Residents:
    """Bound models by name. `bind` and `release` are called from one thread, in order."""

    def __init__(self, backing: Backing) -> None:
        self._backing: Final = backing
        self._bound: Final[dict[ModelName, BoundModel]] = {}
        self._skeletons: Final[dict[tuple[ModelName, str], tuple[Skeleton, PreTrainedTokenizerBase]]] = {}
        self._warmed: Final[set[tuple[ModelName, str]]] = set()

    def find(self, model: ModelName) -> BoundModel:
        """Raises NotResident."""
        try:
            return self._bound[model]
        except KeyError:
            raise NotResident(f"{model} is not on this device") from None

    def measure(self) -> AbstractContextManager[Measurement]:
        """Find out what the run inside takes of the device's memory."""
        return self._backing.runs.measure()

    def unlock(self, request: Unlock) -> Unlocked:
        """End the page-lock of a region of the RAM tier."""
        self._backing.unlock(Region(request.offset, request.length))
        return Unlocked(request.id)

    def bind(self, request: Bind) -> Bound:
        """Make the model ready; on failure the device is as it was."""
        if request.model in self._bound:
            raise BadRequest(f"{request.model} is on this device already")
        started_s = time.perf_counter()
        skeleton, tokenizer = self._skeleton(request)
        if skeleton.layout.length != request.length:
            raise BadRequest(f"{request.folder} holds {skeleton.layout.length} bytes, not {request.length}")
        placement = self._backing.place(Region(request.offset, request.length), request.workspace_bytes)
        try:
            bind(skeleton, placement)
            bound_s = time.perf_counter()
            runner = _runner(request, skeleton, tokenizer, self._backing.runs)
            self._warm_once(request, runner)
        except BaseException:
            unbind(skeleton)
            placement.vacate()
            raise
        warmed_s = time.perf_counter()
        lane = ThreadPoolExecutor(1, thread_name_prefix=f"run-{request.model}")
        self._bound[request.model] = BoundModel(skeleton, placement, runner, lane)
        return Bound(
            id=request.id,
            copy_s=placement.copy_s,
            bind_s=bound_s - started_s - placement.copy_s,
            warm_s=warmed_s - bound_s,
            used_bytes=self._backing.used_bytes,
            card=self._backing.card,
        )

    def release(self, request: Release) -> Released:
        """Unbind the model and give its memory back. Nothing of it runs any more: the engine waits for leases."""
        bound = self.find(request.model)
        started_s = time.perf_counter()
        del self._bound[request.model]
        bound.lane.shutdown(wait=False)
        unbind(bound.skeleton)
        leaked_bytes = bound.placement.vacate()
        evict_s = time.perf_counter() - started_s
        return Released(request.id, evict_s, self._backing.used_bytes, leaked_bytes, self._backing.card)

    def _skeleton(self, request: Bind) -> tuple[Skeleton, PreTrainedTokenizerBase]:
        key = (request.model, request.folder)  # two models may share a folder, but never the modules
        if key not in self._skeletons:
            folder = Path(request.folder)
            self._skeletons[key] = (Skeleton(folder), load_tokenizer(folder))
        return self._skeletons[key]

    def _warm_once(self, request: Bind, runner: Runner) -> None:
        """A first run, so that the first request does not pay for what torch sets up lazily. That lasts for the process's
        life: a model that comes back is warm, and such a run would take longer than its copy."""
        key = (request.model, request.folder)
        if key not in self._warmed:
            _run(runner)
            self._warmed.add(key)


def _runner(request: Bind, skeleton: Skeleton, tokenizer: PreTrainedTokenizerBase, memory: RunMemory) -> Runner:
    match request.task:
        case "embedding":
            return Embedder(skeleton.module, tokenizer, read_pooling(skeleton.folder), request.limits, memory)
        case "generation":
            return Generator(skeleton.module, tokenizer, request.limits, memory)
        case _:
            assert_never(request.task)


def _run(runner: Runner) -> None:
    """The shortest run there is."""
    match runner:
        case Embedder():
            runner.embed(["warm"])
        case Generator():
            runner.generate("warm", max_tokens=1)
        case _:
            assert_never(runner)
