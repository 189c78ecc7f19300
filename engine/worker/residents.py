"""The models that are on the worker's device: bringing them there, running them, and giving their memory back.

Here a skeleton's tensors are pointed at a placed slab and away from it again, and the slab of a bound model is written back to
the RAM tier so that it equals its file byte for byte.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from msgspec import Struct

from engine.core.models import Limits
from engine.core.names import ModelName
from engine.core.tasks import KIND_OF, TaskKind
from engine.weights.errors import BadCheckpoint
from engine.weights.shared_memory import Region
from engine.weights.slab import is_current, open_prepared
from engine.worker.errors import BadRequest, NotResident, SlabReplaced
from engine.worker.host_linear import quicken
from engine.worker.lanes import Asked, Lane, Runner, Turn
from engine.worker.memory import Backing, Placement
from engine.worker.protocol import (
    Bind,
    Bound,
    Release,
    Released,
    Run,
    Unlock,
    Unlocked,
    WriteBack,
    WrittenBack,
)
from engine.worker.runners import SUPPORT
from engine.worker.running import HOST_RUNS, RunOutcome, Say
from engine.worker.skeleton import Skeleton
from engine.worker.slab_stream import SlabStream, all_read
from engine.worker.tokenizer import load_tokenizer
from engine.worker.window import TORCH_DTYPES, Window


class BoundModel(Struct, frozen=True):
    """A model that can run."""

    skeleton: Skeleton
    placement: Placement
    task: TaskKind
    lane: Lane
    """Of its own, so that its runs wait for no load."""


class KeptSkeleton(Struct, frozen=True):
    """What is built once for a model and serves each of its loads."""

    skeleton: Skeleton
    runner: Runner
    limits: Limits
    """That the runner heeds."""


class Residents:
    """Bound models by name. Loads, releases and runs may come from threads of their own."""

    def __init__(self, backing: Backing) -> None:
        self._backing: Final = backing
        self._bound: Final[dict[ModelName, BoundModel]] = {}
        self._built: Final[dict[tuple[ModelName, str], KeptSkeleton]] = {}
        self._warmed: Final[set[tuple[ModelName, str]]] = set()
        self._turn: Final = Turn()
        self._changing: Final = threading.Lock()
        """Held while room is taken or given back and while modules change; never while bytes are waited for."""

    def find(self, model: ModelName) -> BoundModel:
        """Raises NotResident."""
        try:
            return self._bound[model]
        except KeyError:
            raise NotResident(f"{model} is not on this device") from None

    def run(self, request: Run, say: Say, end: Callable[[RunOutcome], None], fail: Callable[[Exception], None]) -> None:
        """Have the lane of the model carry out a task; `end` or `fail` is called with what came of it. Raises NotResident,
        BadRequest."""
        bound = self.find(request.model)
        if (asked := KIND_OF[type(request.task)]) != bound.task:
            raise BadRequest(f"{request.model} is for {bound.task}, not for {asked}")
        bound.lane.take(Asked(request.id, request.task, say, end, fail))

    def leave(self, run: int) -> None:
        """Nobody waits for that run any more."""
        for bound in tuple(self._bound.values()):
            bound.lane.leave(run)

    def steps(self) -> dict[ModelName, float]:
        """For how many seconds the batch or the token under way of each model that runs has been running."""
        running = {model: bound.lane.step_s() for model, bound in tuple(self._bound.items())}
        return {model: step_s for model, step_s in running.items() if step_s is not None}

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
            # Room is taken before the bytes are there, so that two loads that wait for theirs can't be promised the same room.
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
                lane = kept.runner.lane(request.model, self._turn)
                self._bound[request.model] = BoundModel(kept.skeleton, placement, request.task, lane)
        except BaseException:
            with self._changing:
                unbind(kept.skeleton)  # first: what still lies on the placement would be quarantined as leaked
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
            bound.lane.close()  # it is idle: the engine releases nothing that has a lease
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
        if kept is None or kept.skeleton.layout_id != request.layout_id or kept.limits != request.limits:
            kept = self._built[key] = self._build(request)
        return kept

    def _build(self, request: Bind) -> KeptSkeleton:
        """From the folder as it is now. Raises SlabReplaced when the slab was read from what it was before."""
        folder = Path(request.folder)
        skeleton = Skeleton(folder)
        if self._backing.runs is HOST_RUNS:
            quicken(skeleton.module)
        runner = SUPPORT[request.task].make_runner(skeleton, load_tokenizer(folder), request.limits, self._backing.runs)
        if request.layout_id != skeleton.layout_id or not is_current(skeleton.prepared):
            raise SlabReplaced(f"{folder} was prepared anew since the slab of {request.model} was read")
        return KeptSkeleton(skeleton, runner, request.limits)

    def _warm_once(self, request: Bind, runner: Runner) -> float:
        """The seconds of a first run, so that the first request does not pay for what torch sets up lazily. That lasts for
        the process's life: a model that comes back is warm, and such a run would take longer than its copy."""
        key = (request.model, request.folder)
        if key in self._warmed:
            return 0.0
        started_s = time.perf_counter()
        runner.warm()
        self._warmed.add(key)
        return time.perf_counter() - started_s


# ── a skeleton's tensors and its slab ────────────────────────────────────────────────────────────

_NOTHING: Final = {name: torch.empty(0, dtype=dtype) for name, dtype in TORCH_DTYPES.items()}
"""What the tensors of a model that has left point at. Not meta: `.data` can't cross to that device or back. Without elements,
every operation that reads one raises, on any device, while stale bytes would give an answer."""


def bind(skeleton: Skeleton, placement: Placement) -> None:
    """Make every parameter and buffer lie on the slab. Never call it in inference mode: views made there can't be used outside
    it."""
    skeleton.reset()
    skeleton.stage = "bound"
    for tensor, entry in skeleton.places:
        # `.data`, not a new parameter: the object stays the one that modules and tied paths hold, so that nothing has to be
        # looked up by its path, and a bind is this one loop.
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
    # Buffers come from the file, since some models write to theirs: the slab is to equal its file, whatever has run on it.
    buffers = [entry for entry in layout.entries if entry.kind == "buffer" and entry.length]
    if not buffers:
        return
    with prepared.slab_path.open("rb", buffering=0) as file, target.bytes.numpy().data as whole:
        for entry in buffers:
            with whole[entry.offset : entry.offset + entry.length] as place:
                if os.preadv(file.fileno(), [place], prepared.data_offset + entry.offset) != entry.length:
                    raise BadCheckpoint(f"{prepared.slab_path} ends too soon; prepare it again")
