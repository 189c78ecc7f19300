"""The slab as a load's flow sees it: its reading is begun early, waited for until its bytes come, given up when nobody waits; and
a victim's slab is written back from its device.

Several flows may want one slab: each looks at what the RAM tier holds of it when it is resumed, and begins what is missing.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from engine.core import ledger
from engine.core.names import DeviceId, ModelName
from engine.core.planning.ram_tier import goes_back, has_room, slabs_to_drop
from engine.core.records import PhaseName
from engine.core.state import Resident, Slab
from engine.scheduler.board import Board
from engine.scheduler.effects import DropSlab, ReadSlab, StopReading, WriteBackSlab
from engine.scheduler.jobs import Broken, Flow, Incoming, Job, Withdrawn


def read_meanwhile(board: Board, job: Job, model: ModelName) -> None:
    """Begin to read the model's slab while its load still waits for room on the device, if the RAM tier has room for it.

    Where it has none even without what it may let go of, the reading waits for the device as well: over its limits the tier may
    be for one load that copies, not for all that wait.
    """
    size_bytes = board.state.models[model].footprint.weights_bytes
    if has_room(board.state, size_bytes):
        read_if_needed(board, job, model)


def wait_until_open(board: Board, job: Job, incoming: Incoming, deadline_s: float) -> Flow:
    """Wait until the slab's bytes are in the RAM tier, or begin to come."""
    model = incoming.model
    while True:
        if failure := incoming.take_failure():
            raise Broken(failure.reason, passing=failure.may_pass)
        # Each time anew: whoever read it may have been told to stop, or the slab may have been dropped as damaged meanwhile.
        read_if_needed(board, job, model)
        if (slab := board.state.ram.find(model)) is not None and slab.stage in ("filling", "kept"):
            return
        incoming.hear((yield reading_phase(board, model)))
        if board.state.find(model, incoming.device) is None:
            raise Broken(f"the worker of {incoming.device} ended while {model} was read", passing=True)
        if job.withdrawn or board.now.mono_s >= deadline_s:
            stop_reading(board, model)
            raise Withdrawn(job.withdrawn) if job.withdrawn else read_too_long(board, model)


def read_if_needed(board: Board, job: Job, model: ModelName, leaving: Collection[Resident] = ()) -> None:
    """Have the slab in the RAM tier, unless it is there or on its way, and note where it comes from. `leaving`: who is to leave
    for it, whose copies are not the first to go."""
    if is_whole(board, model):
        # A slab that this job has had read is whole in the end, too, and came from further away.
        job.tier = job.tier or "ram"
        return
    if is_writing_back(board, model):
        return
    if not board.state.models[model].prepared:
        job.tier = "source"
    elif job.tier is None:  # once its preparing has ended, the model counts as prepared
        job.tier = "disk"
    if board.state.ram.find(model) is None and not _disk_is_busy(board):
        begin_reading(board, model, leaving=leaving)


def _disk_is_busy(board: Board) -> bool:
    """Whether another slab is being read: one after the other, the first is there sooner and the last no later. Preparing a
    model takes long, and little of it is reading."""
    models = board.state.models
    return any(s.stage in ("reading", "filling") and models[s.model].prepared for s in board.state.ram.slabs)


def begin_reading(board: Board, model: ModelName, ahead: str = "", leaving: Collection[Resident] = ()) -> None:
    """Read a slab that is not in the RAM tier, letting go of others where there is no room. `ahead`: why, if nobody waits for
    it."""
    slab = Slab(model, board.state.models[model].footprint.weights_bytes, "reading", board.now.wall_s, ahead)
    _put_slab(board, slab, leaving)
    board.emit(ReadSlab(model, bool(ahead)))


def stop_reading(board: Board, model: ModelName) -> None:
    """Give up a reading under way; nobody begins to copy behind it any more.

    The slab keeps its place until SlabFailed, since the disk may still write into its region. Its stage falls back to
    `reading`, which no load copies from: one that wants the slab after all waits for that report, then has it read again.
    """
    slab = board.state.ram.find(model)
    if slab is not None and slab.stage in ("reading", "filling"):
        board.apply(ledger.put_slab, replace(slab, stage="reading"))
        board.emit(StopReading(model))


def write_back_if_worth_it(board: Board, model: ModelName, device: DeviceId) -> None:
    """Begin to copy the weights of a model that leaves `device` back to the RAM tier, if that pays now. The plan has said so of
    the state that it was made on; this is the state that it is carried out on."""
    leaving = board.state.find(model, device)
    if leaving is not None and goes_back(board.situation, leaving):
        size_bytes = board.state.models[model].footprint.weights_bytes
        _put_slab(board, Slab(model, size_bytes, "writing back", board.now.wall_s))
        board.emit(WriteBackSlab(model, device, size_bytes))


def _put_slab(board: Board, slab: Slab, leaving: Collection[Resident] = ()) -> None:
    """Give the slab a place in the tier, letting go of others where there is no room."""
    for name in slabs_to_drop(board.situation, slab.size_bytes, leaving):
        board.apply(ledger.displace_slab, name)
        board.emit(DropSlab(name))
    board.apply(ledger.put_slab, slab)


def read_too_long(board: Board, model: ModelName) -> Broken:
    """The failure of a load whose slab does not come in time."""
    return Broken(f"reading {model} took longer than {board.patience.load_s:.0f} s", passing=True)


def reading_phase(board: Board, model: ModelName) -> PhaseName:
    """What is waited for while the model's bytes are not in the RAM tier: that they are prepared, or read."""
    return "read" if board.state.models[model].prepared else "prepare"


def is_whole(board: Board, model: ModelName) -> bool:
    """Whether all of the slab is in the RAM tier."""
    slab = board.state.ram.find(model)
    return slab is not None and slab.stage == "kept"


def is_writing_back(board: Board, model: ModelName) -> bool:
    """Whether the slab is being written back from a device, and of no use yet."""
    slab = board.state.ram.find(model)
    return slab is not None and slab.stage == "writing back"
