"""The leaving of residents as a flow: their leases end, their weights go back to the RAM tier where that pays, and they are
released. A worker that does not answer in time is started again, and what it held is gone with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from msgspec import Struct

from engine.core import ledger
from engine.core.devices import worker_of
from engine.core.forecast.run_costs import drain_s, is_known
from engine.core.names import DeviceId, ModelName
from engine.core.planning.eviction import eviction_policy
from engine.core.plans import EvictStep
from engine.core.prediction import Prediction
from engine.core.records import Notice
from engine.core.state import State
from engine.scheduler.board import Board
from engine.scheduler.effects import KillWorker, ReleaseModel, Write
from engine.scheduler.jobs import Broken, Flow, Job, Withdrawn
from engine.scheduler.slab_flow import is_writing_back, write_back_if_worth_it


def clear(board: Board, job: Job, steps: Sequence[EvictStep]) -> Flow:
    """Drain and release the residents of `steps`, side by side."""
    drain(board, job, steps)
    yield from _drained(board, job, steps)
    # Only who is still draining is ours to release: one that another job drains too may be past rescue by now, or gone.
    going = [(s.model, s.device) for s in steps if (r := board.state.find(s.model, s.device)) and r.stage == "draining"]
    yield from depart(board, job, going)
    while any(is_leaving(board, step.model, step.device) for step in steps):  # another job lets go of it
        yield "evict"


def drain(board: Board, job: Job, steps: Sequence[EvictStep]) -> None:
    """Begin to let them go: nobody gets a new lease, unless that rescues them."""
    for step in steps:
        resident = board.state.find(step.model, step.device)
        if resident is None or resident.stage not in ("ready", "draining"):
            continue
        if resident.stage == "ready":
            board.apply(ledger.start_draining, step.model, step.device, board.now.wall_s)
            job.drains |= {(step.model, step.device)}
        if job.insists or step.at_once:
            board.apply(ledger.give_up, step.model, step.device)


def _drained(board: Board, job: Job, steps: Sequence[EvictStep]) -> Flow:
    """Wait for the leases of what is to leave; whoever is not past rescue stays when that comes to nothing.

    A model that drains can be rescued by a request, which then has its lease on it: no model leaves under a request that could
    have been answered at once, and the job that wanted its place is the one that gives way.
    """
    deadline_s = board.now.mono_s + board.patience.drain_s
    try:
        while leased := [s for s in steps if (r := board.state.find(s.model, s.device)) and r.leases]:
            names = " and ".join(s.model for s in leased)
            if board.now.mono_s >= deadline_s:
                raise Broken(
                    f"the leases of {names} did not end within {board.patience.drain_s:.0f} s; nothing was evicted"
                )
            job.waiting_for = f"the leases of {names}{_how_long(board.state, leased)}"
            job.ends_runs_on = tuple(step for step in leased if step.at_once)
            yield "drain"
            job.ends_runs_on = ()
            job.stop_if_withdrawn()
            for step in leased:
                if (resident := board.state.find(step.model, step.device)) and resident.stage == "ready":
                    raise Withdrawn(f"{step.model} was wanted again while it was leaving; it stays on {step.device}")
    except (Broken, Withdrawn):
        for step in steps:
            resident = board.state.find(step.model, step.device)
            if resident and resident.stage == "draining" and (step.model, step.device) in job.drains:
                board.apply(ledger.rescue, step.model, step.device, board.now.wall_s)
        raise
    job.waiting_for = ""


def _how_long(state: State, leased: Sequence[EvictStep]) -> str:
    """How long they should still take, in words; nothing where no run of theirs has been measured."""
    if not all(is_known(state, step.model, step.device) for step in leased):
        return ""
    takes = reduce(Prediction.beside, (drain_s(state, step.model, step.device) for step in leased))
    return f", about {takes.p50_s:.1f} s"


def is_leaving(board: Board, model: ModelName, device: DeviceId) -> bool:
    """Whether it is past rescue there, and still charged."""
    resident = board.state.find(model, device)
    return resident is not None and resident.stage == "leaving"


# ── past rescue ──────────────────────────────────────────────────────────────────────────────────


class _Departure(Struct, eq=False):
    """A resident that leaves, and when its worker should have answered."""

    model: ModelName
    device: DeviceId
    deadline_s: float
    released: bool = False


def depart(board: Board, job: Job, places: Iterable[tuple[ModelName, DeviceId]]) -> Flow:
    """Let these go, side by side, and wait until all have gone. A write-back that comes to nothing holds up nothing: the disk
    has the weights too.

    It does not look at whether the job was withdrawn: a resident that leaves can't be rescued any more, and whoever ended here
    would leave bytes charged that nobody waits for.
    """
    under_way = [_Departure(model, device, _deadline_s(board)) for model, device in places]
    for leaver in under_way:
        board.apply(ledger.leave, leaver.model, leaver.device, board.now.wall_s)
        board.apply(eviction_policy(board.policy).left, leaver.model, leaver.device)
        write_back_if_worth_it(board, leaver.model, leaver.device)
    # A resident is gone when its worker has released it or has died; which of the two makes no difference here.
    while under_way := [leaver for leaver in under_way if is_leaving(board, leaver.model, leaver.device)]:
        for leaver in under_way:
            # Only once its bytes have been copied: the release gives the memory back that the worker still copies from.
            if not leaver.released and not is_writing_back(board, leaver.model):
                leaver.released, leaver.deadline_s = True, _deadline_s(board)
                board.emit(ReleaseModel(leaver.model, leaver.device))
        _end_late(board, job, [leaver for leaver in under_way if board.now.mono_s >= leaver.deadline_s])
        yield "evict"


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
        board.emit(Write(Notice(board.now.wall_s, "error", job.mishap, device, condition=worker_of(device))))
        board.emit(KillWorker(device))
    for leaver in late:
        leaver.deadline_s = float("inf")  # the flow waits for WorkerDown now; a second kill would hit the next worker
