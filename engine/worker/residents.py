"""The models that are on the worker's device: bringing them there, running them, and giving their memory back."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, TypeAlias, assert_never

import torch
from msgspec import Struct
from transformers import PreTrainedTokenizerBase

from engine.core.names import ModelName
from engine.weights.errors import BadCheckpoint
from engine.weights.pooling import read_pooling
from engine.weights.shared_memory import Region
from engine.weights.slab import is_current, open_prepared
from engine.worker.embedding import Embedder
from engine.worker.errors import BadRequest, NotResident, SlabReplaced
from engine.worker.generation import Generator
from engine.worker.memory import Backing, Placement
from engine.worker.protocol import Bind, Bound, Release, Released, Unlock, Unlocked, WriteBack, WrittenBack
from engine.worker.running import Measurement, RunMemory
from engine.worker.skeleton import Skeleton
from engine.worker.slab_stream import SlabStream, all_read
from engine.worker.tokenizer import load_tokenizer
from engine.worker.window import TORCH_DTYPES, Window

_NOTHING: Final = {name: torch.empty(0, dtype=dtype) for name, dtype in TORCH_DTYPES.items()}


def bind(skeleton: Skeleton, placement: Placement) -> None:
    """Make every parameter and buffer lie on the slab. Never call it in inference mode: views made there can't be used outside
    it."""
    skeleton.reset()
    skeleton.stage = "bound"
    for tensor, entry in skeleton.places:
        tensor.data = placement.tensor(entry)


def unbind(skeleton: Skeleton) -> None:
    """Leave the tensors without elements, so that a use that comes too late raises instead of reading other bytes."""
    for tensor, entry in skeleton.places:
        tensor.data = _NOTHING[entry.dtype]
    skeleton.stage = "left"


def write_slab(skeleton: Skeleton, placement: Placement, target: Window) -> None:
    """Fill `target`. Raises BadRequest when it has another size, BadCheckpoint when the file is not the one that was bound."""
    layout, folder = skeleton.layout, skeleton.folder
    if target.length != layout.length:
        raise BadRequest(f"the slab in {folder} has {layout.length} bytes, not {target.length}")
    prepared = open_prepared(folder)
    if prepared.layout_id != skeleton.layout_id:
        raise BadCheckpoint(f"{folder} was prepared anew since its model was loaded")
    placement.write_back(target)
    buffers = [entry for entry in layout.entries if entry.kind == "buffer" and entry.length]
    if not buffers:
        return
    with prepared.slab_path.open("rb", buffering=0) as file, target.bytes.numpy().data as whole:
        for entry in buffers:
            with whole[entry.offset : entry.offset + entry.length] as place:
                if os.preadv(file.fileno(), [place], prepared.data_offset + entry.offset) != entry.length:
                    raise BadCheckpoint(f"{prepared.slab_path} ends too soon; prepare it again")


Runner: TypeAlias = Embedder | Generator


class BoundModel(Struct, frozen=True):
    """A model that can run."""

    skeleton: Skeleton
    placement: Placement
    runner: Runner
    lane: ThreadPoolExecutor
    """One thread of its own, so that its runs wait neither for loads nor for other models."""


class KeptSkeleton(Struct, frozen=True):
    """What is built once for a model and serves each of its loads."""

    skeleton: Skeleton
    runner: Runner


class Residents:
    """Bound models by name. Loads, releases and runs may come from threads of their own."""

    def __init__(self, backing: Backing) -> None:
        self._backing: Final = backing
        self._bound: Final[dict[ModelName, BoundModel]] = {}
        self._built: Final[dict[tuple[ModelName, str], KeptSkeleton]] = {}
        self._warmed: Final[set[tuple[ModelName, str]]] = set()
        self._changing: Final = threading.Lock()
        """Held while room is taken or given back and while modules change; never while bytes are waited for."""

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
        with self._changing:
            self._backing.unlock(Region(request.offset, request.length))
        return Unlocked(request.id)

    def bind(self, request: Bind, reading: SlabStream | None = None) -> Bound:
        """Make the model ready, from a slab that may still be read; on failure the device is as it was. Waiting for the slab
        holds up nothing else."""
        started_s = time.perf_counter()
        with self._changing:
            kept = self._kept(request)
            placement = self._backing.place(Region(request.offset, request.length), request.workspace_bytes)
        try:
            placed_s = time.perf_counter()
            moved = placement.fill(reading or all_read(request.length))
            waited_s = time.perf_counter() - placed_s
            with self._changing:
                bind(kept.skeleton, placement)
                bind_s = time.perf_counter() - started_s - waited_s
                warm_s = self._warm_once(request, kept.runner)
                used_bytes, card = self._backing.used_bytes, self._backing.card
                self._bound[request.model] = BoundModel(kept.skeleton, placement, kept.runner, _lane(request.model))
        except BaseException:
            with self._changing:
                unbind(kept.skeleton)
                placement.vacate()
            raise
        return Bound(request.id, moved.copy_s, bind_s, warm_s, used_bytes, card, moved.tail_s)

    def write_back(self, request: WriteBack) -> WrittenBack:
        """Write the model's slab to a region of the RAM tier. Holds up no other model."""
        started_s = time.perf_counter()
        with self._changing:
            bound = self.find(request.model)
            target = self._backing.window(Region(request.offset, request.length))
        try:
            write_slab(bound.skeleton, bound.placement, target)
        finally:
            target.close()
        return WrittenBack(request.id, time.perf_counter() - started_s)

    def release(self, request: Release) -> Released:
        """Unbind the model and give its memory back. Nothing of it runs any more: the engine waits for leases."""
        with self._changing:
            bound = self.find(request.model)
            started_s = time.perf_counter()
            del self._bound[request.model]
            bound.lane.shutdown(wait=False)
            unbind(bound.skeleton)
            leaked_bytes = bound.placement.vacate()
            evict_s = time.perf_counter() - started_s
            return Released(request.id, evict_s, self._backing.used_bytes, leaked_bytes, self._backing.card)

    def tidy(self) -> None:
        """Do what a release leaves to be done, and nobody waits for."""
        with self._changing:
            for kept in self._built.values():
                kept.skeleton.reset()

    def _kept(self, request: Bind) -> KeptSkeleton:
        if request.model in self._bound:
            raise BadRequest(f"{request.model} is on this device already")
        key = (request.model, request.folder)  # two models may share a folder, but never the modules
        kept = self._built.get(key)
        if kept is None or kept.skeleton.layout_id != request.layout_id:
            kept = self._built[key] = self._build(request)
        return kept

    def _build(self, request: Bind) -> KeptSkeleton:
        """From the folder as it is now. Raises SlabReplaced when the slab was read from what it was before."""
        folder = Path(request.folder)
        skeleton = Skeleton(folder)
        runner = _runner(request, skeleton, load_tokenizer(folder), self._backing.runs)
        if request.layout_id != skeleton.layout_id or not is_current(skeleton.prepared):
            raise SlabReplaced(f"{folder} was prepared anew since the slab of {request.model} was read")
        return KeptSkeleton(skeleton, runner)

    def _warm_once(self, request: Bind, runner: Runner) -> float:
        """The seconds of a first run, so that the first request does not pay for what torch sets up lazily. That lasts for
        the process's life: a model that comes back is warm, and such a run would take longer than its copy."""
        key = (request.model, request.folder)
        if key in self._warmed:
            return 0.0
        started_s = time.perf_counter()
        _run(runner)
        self._warmed.add(key)
        return time.perf_counter() - started_s


def _lane(model: ModelName) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=f"run-{model}")


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
