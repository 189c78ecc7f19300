"""The reading of a slab as a load's flow sees it: begun early, waited for until its bytes come, given up when nobody waits."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from engine.core import ledger
from engine.core.names import DeviceId, ModelName
from engine.core.planning.ram_tier import goes_back, has_room, slabs_to_drop
from engine.core.plans import LoadStep
from engine.core.state import Slab
from engine.scheduler.board import Board
from engine.scheduler.effects import DropSlab, ReadSlab, StopReading, WriteBackSlab
from engine.scheduler.jobs import Broken, Flow, Job, Withdrawn


def read_meanwhile(board: Board, job: Job, model: ModelName) -> None:
    """Begin to read the model's slab while its load still waits for room on the device, if the RAM tier has room for it."""
    size_bytes = board.state.models[model].footprint.weights_bytes
    if has_room(board.state, size_bytes):
        _begin_reading(board, job, model)


def _begin_reading(board: Board, job: Job, model: ModelName) -> None:
    """Have the slab in the RAM tier, unless it is there or on its way, and note where it comes from."""
    if is_whole(board, model):
        job.tier = job.tier or "ram"
        return
    if is_writing_back(board, model):
        return
    if job.tier is None:  # once its preparing has ended, the model counts as prepared
        job.tier = "disk" if board.state.models[model].prepared else "source"
    if slab_of(board, model) is None and not _disk_is_busy(board):
        begin_reading(board, model)


def _disk_is_busy(board: Board) -> bool:
    """Whether another slab is being read: one after the other, the first is there sooner and the last no later. Preparing a
    model takes long, and little of it is reading."""
    models = board.state.models
    return any(s.stage in ("reading", "filling") and models[s.model].prepared for s in board.state.ram.slabs)


def begin_reading(board: Board, model: ModelName) -> None:
    """Read a slab that is not in the RAM tier, letting go of others where there is no room."""
    _put_slab(board, model, "reading")
    board.reading_since_s[model] = board.now.mono_s
    board.emit(ReadSlab(model))


def write_back_if_worth_it(board: Board, model: ModelName, device: DeviceId) -> None:
    """Begin to copy the weights of a model that leaves `device` back to the RAM tier, if that pays now."""
    leaving = board.state.find(model, device)
    if leaving is not None and goes_back(board.situation, leaving):
        _put_slab(board, model, "writing back")
        board.emit(WriteBackSlab(model, device, board.state.models[model].footprint.weights_bytes))


def _put_slab(board: Board, model: ModelName, stage: Literal["reading", "writing back"]) -> None:
    """Give the slab a place in the tier, letting go of others where there is no room."""
    size_bytes = board.state.models[model].footprint.weights_bytes
    for name in slabs_to_drop(board.situation, size_bytes):
        board.state = ledger.drop_slab(board.state, name)
        board.emit(DropSlab(name))
    board.state = ledger.put_slab(board.state, Slab(model, size_bytes, stage, board.now.wall_s))


def stop_reading(board: Board, model: ModelName) -> None:
    """Give up a reading under way; nobody begins to copy behind it any more."""
    slab = slab_of(board, model)
    if slab is not None and slab.stage in ("reading", "filling"):
        board.state = ledger.put_slab(board.state, replace(slab, stage="reading"))
        board.emit(StopReading(model))


def wait_until_open(board: Board, job: Job, step: LoadStep, deadline_s: float) -> Flow:
    """Wait until the slab's bytes are in the RAM tier, or begin to come."""
    model = step.model
    while True:
        if failure := board.slab_failures.pop(model, None):
            raise Broken(failure.reason, passing=failure.kind == "passing")
        _begin_reading(board, job, model)
        if (slab := slab_of(board, model)) is not None and slab.stage in ("filling", "kept"):
            return
        yield "read"
        if board.state.find(model, step.device) is None:
            raise Broken(f"the worker of {step.device} ended while {model} was read", passing=True)
        if job.withdrawn or board.now.mono_s >= deadline_s:
            stop_reading(board, model)
            raise Withdrawn(job.withdrawn) if job.withdrawn else read_too_long(board, model)


def read_too_long(board: Board, model: ModelName) -> Broken:
    """The failure of a load whose slab does not come in time."""
    return Broken(f"reading {model} took longer than {board.patience.load_s:.0f} s", passing=True)


def is_whole(board: Board, model: ModelName) -> bool:
    """Whether all of the slab is in the RAM tier."""
    slab = slab_of(board, model)
    return slab is not None and slab.stage == "kept"


def is_writing_back(board: Board, model: ModelName) -> bool:
    """Whether the slab is being written back from a device, and of no use yet."""
    slab = slab_of(board, model)
    return slab is not None and slab.stage == "writing back"


def slab_of(board: Board, model: ModelName) -> Slab | None:
    """What of the model is in the RAM tier, or on its way there."""
    return next((s for s in board.state.ram.slabs if s.model == model), None)
