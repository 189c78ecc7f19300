"""Residents past rescue: their weights go back to the RAM tier where that pays, and they are released. A worker that does not
answer in time is started again, and what it held is gone with it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from engine.core import ledger
from engine.core.names import DeviceId, ModelName
from engine.core.records import Notice
from engine.scheduler.board import Board
from engine.scheduler.effects import KillWorker, ReleaseModel, Write
from engine.scheduler.jobs import Flow, Job
from engine.scheduler.slab_flow import is_returning, return_if_worth_it


class _Departure(Struct, eq=False):
    """A resident that leaves, and when its worker should have answered."""

    model: ModelName
    device: DeviceId
    deadline_s: float
    released: bool = False


def depart(board: Board, job: Job, places: Iterable[tuple[ModelName, DeviceId]]) -> Flow:
    """Let these go, side by side, and wait until all have gone. A copy back that comes to nothing holds up nothing: the disk
    has the weights too."""
    under_way = [_Departure(model, device, _deadline_s(board)) for model, device in places]
    for leaver in under_way:
        board.state = ledger.leave(board.state, leaver.model, leaver.device, board.now.wall_s)
        return_if_worth_it(board, leaver.model, leaver.device)
    while under_way := [leaver for leaver in under_way if is_leaving(board, leaver.model, leaver.device)]:
        for leaver in under_way:
            if not leaver.released and not is_returning(board, leaver.model):
                leaver.released, leaver.deadline_s = True, _deadline_s(board)
                board.emit(ReleaseModel(leaver.model, leaver.device))
        _end_late(board, job, [leaver for leaver in under_way if board.now.mono_s >= leaver.deadline_s])
        yield "evict"


def is_leaving(board: Board, model: ModelName, device: DeviceId) -> bool:
    """Whether it is past rescue there, and still charged."""
    resident = board.state.find(model, device)
    return resident is not None and resident.stage == "leaving"


def _deadline_s(board: Board) -> float:
    return board.now.mono_s + board.patience.load_s


def _end_late(board: Board, job: Job, late: list[_Departure]) -> None:
    """Replace the workers that take too long: what they may still read or write can be freed only then."""
    for device in dict.fromkeys(leaver.device for leaver in late):
        here = [leaver for leaver in late if leaver.device == device]
        doing = [f"releasing {x.model} from {device}" for x in here if x.released]
        doing += [f"copying {x.model} back from {device}" for x in here if not x.released]
        took = f"{' and '.join(doing)} took longer than {board.patience.load_s:.0f} s"
        job.mishap = f"{took} and was given up; the worker of {device} is started again"
        board.emit(Write(Notice(board.now.wall_s, "error", job.mishap, device)))
        board.emit(KillWorker(device))
    for leaver in late:
        leaver.deadline_s = float("inf")
