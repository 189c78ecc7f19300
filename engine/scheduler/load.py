"""The load of one model as a flow: wait for proven room, reserve, and bind on the device while the slab is being read."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from msgspec.structs import replace

from engine.core import ledger
from engine.core.forecast.calibration import warmed
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.placement import departure
from engine.core.plans import LoadStep
from engine.core.records import PhaseName
from engine.core.sizes import format_size
from engine.scheduler.board import Board
from engine.scheduler.effects import BindModel, DropSlab, KillWorker
from engine.scheduler.evict import clear, depart
from engine.scheduler.jobs import Broken, Flow, Job, NoRoom, Withdrawn
from engine.scheduler.messages import BindFailed, ModelBound
from engine.scheduler.slab_flow import is_whole, read_too_long, slab_of, stop_reading, wait_until_open
from engine.worker.protocol import Bound

STOP_GRACE_S: Final = 5.0
"""Within which a worker has to answer that the slab it copies will not come."""


def load(board: Board, job: Job, step: LoadStep) -> Flow:
    """Make `step.model` ready on `step.device`, trying again where that may help."""
    for attempt in range(board.patience.retries + 1):
        try:
            yield from _try(board, job, step)
            return
        except Broken as broken:
            _let_go(board, step.model, step.device)
            if not broken.passing or attempt == board.patience.retries:
                raise
            job.mishap = broken.reason
        except Withdrawn:
            _let_go(board, step.model, step.device)
            raise


def _try(board: Board, job: Job, step: LoadStep) -> Flow:
    deadline_s = board.now.mono_s + board.patience.load_s
    yield from _reserve(board, job, step, deadline_s)
    yield from wait_until_open(board, job, step, deadline_s)
    _fit_footprint(board, step)
    yield from _bind(board, job, step, deadline_s)


def _reserve(board: Board, job: Job, step: LoadStep, deadline_s: float) -> Flow:
    """Wait until the device shows the room, then charge it."""
    model, device = step.model, step.device
    if board.state.find(model, device) is None:
        board.state = ledger.pend(board.state, model, device, board.now.wall_s)
    while (
        board.state.devices[device].reading.health != "ok"
        or ledger.free(board.state, device) < board.state.models[model].footprint.total_bytes
    ):
        job.waiting_for = f"room for {model} on {device}"
        if board.now.mono_s >= deadline_s:
            raise Broken(f"{device} did not show room for {model} within {board.patience.load_s:.0f} s")
        yield "settle"
        if job.withdrawn:
            raise Withdrawn(job.withdrawn)
    job.waiting_for = ""
    board.state = ledger.reserve(board.state, model, device, board.now.wall_s)


def _fit_footprint(board: Board, step: LoadStep) -> None:
    """The slab tells the weights' true size; charge that instead of the estimate."""
    resident = board.state.find(step.model, step.device)
    footprint = board.state.models[step.model].footprint
    if resident is None:
        raise Broken(f"the worker of {step.device} ended before {step.model} was copied", passing=True)
    if footprint == resident.footprint:
        return
    more_bytes = footprint.total_bytes - resident.footprint.total_bytes
    if more_bytes > ledger.free(board.state, step.device):
        need = format_size(footprint.total_bytes)
        raise Broken(
            f"{step.model} turned out to need {need}, {format_size(more_bytes)} more than was free on {step.device}"
        )
    board.state = ledger.correct(board.state, step.model, step.device, footprint)


def _bind(board: Board, job: Job, step: LoadStep, deadline_s: float) -> Flow:
    """Copy and bind, while the rest is read. A copy of a slab that is there can't be called back: a withdrawn job waits for it,
    then lets the model go again."""
    model, device = step.model, step.device
    board.bind_reports.pop(model, None)
    copied_s = job.clock.spent_s("copy")
    board.emit(BindModel(model, device, board.state.models[model].footprint.workspace_bytes))
    report = yield from _bind_report(board, job, step, deadline_s)
    if isinstance(report, BindFailed):
        if report.kind == "replaced":
            yield from _give_up_slab(board, job, step)
        raise _why_not_bound(board, job, step, report)
    _split_time(board, job, report.bound, copied_s)
    _arrived(board, step)
    if job.withdrawn:
        yield from depart(board, job, [(model, device)])
        raise Withdrawn(job.withdrawn)


def _bind_report(
    board: Board, job: Job, step: LoadStep, deadline_s: float
) -> Generator[PhaseName, None, ModelBound | BindFailed]:
    """Wait for what the worker says. Whoever takes too long is stopped: the reading first, else the worker."""
    model, device = step.model, step.device
    stopped = killed = False
    while (report := board.bind_reports.pop(model, None)) is None:
        if board.state.find(model, device) is None:
            why = f"took longer than {board.patience.load_s:.0f} s" if killed else "ended with its worker"
            raise Broken(f"loading {model} on {device} {why}; the worker is started again", passing=True)
        is_late, whole = board.now.mono_s >= deadline_s, is_whole(board, model)
        if not (stopped or whole) and (job.withdrawn or is_late):
            stopped, deadline_s = True, board.now.mono_s + STOP_GRACE_S
            stop_reading(board, model)
        elif is_late and not killed:
            killed = True
            board.emit(KillWorker(device))
        yield "copy" if whole else "read"
    return report


def _why_not_bound(board: Board, job: Job, step: LoadStep, report: BindFailed) -> Broken | Withdrawn:
    model, device = step.model, step.device
    if report.kind in ("no room", "unusable"):
        size_bytes = board.state.models[model].footprint.total_bytes
        return NoRoom(f"{device} could not take {model}: {report.reason}", device, size_bytes)
    if report.kind == "replaced":
        return Broken(report.reason, passing=True)
    if report.kind != "not read":
        return Broken(f"{device} could not take {model}: {report.reason}", passing=report.kind == "passing")
    if job.withdrawn:
        return Withdrawn(job.withdrawn)
    if failure := board.slab_failures.pop(model, None):
        return Broken(failure.reason, passing=failure.kind == "passing")
    return read_too_long(board, model)


def _give_up_slab(board: Board, job: Job, step: LoadStep) -> Flow:
    """Let go of a slab whose file was prepared anew, so that it is read again. The CPU, if it runs from that, is left first: the
    model is on its way to `step.device`, and comes back to the CPU should that fail."""
    model = step.model
    job.tier = None  # it is not known yet where the next attempt starts from
    _let_go(board, model, step.device)
    if on_cpu := board.state.find(model, CPU):
        leaving = departure(board.state, on_cpu)
        board.state = ledger.pend(board.state, model, step.device, board.now.wall_s)
        job.evicted += (leaving,)
        job.insists = True  # requests that come meanwhile wait for the load
        yield from clear(board, job, [leaving])
        board.state = ledger.withdraw(board.state, model, step.device)
    if is_whole(board, model):
        board.state = ledger.drop_slab(board.state, model)
        board.emit(DropSlab(model))


def _split_time(board: Board, job: Job, bound: Bound, copied_s: float) -> None:
    """Of the time since all was read, what the copy did not take is binding, messages included; `copied_s` had been spent on
    copies before."""
    tail_s = bound.copy_s if bound.tail_s is None else bound.tail_s
    job.clock.enter("copy", board.now.mono_s)
    job.clock.reassign("copy", "warm", bound.warm_s)
    job.clock.reassign("copy", "bind", job.clock.spent_s("copy") - copied_s - tail_s)


def _arrived(board: Board, step: LoadStep) -> None:
    model, device = step.model, step.device
    board.state = warmed(ledger.arrive(board.state, model, device, board.now.wall_s), model, device)
    if slab := slab_of(board, model):
        board.state = ledger.put_slab(board.state, replace(slab, used_s=board.now.wall_s))


def _let_go(board: Board, model: ModelName, device: DeviceId) -> None:
    """Undo a reservation that came to nothing; the worker holds nothing of the model."""
    resident = board.state.find(model, device)
    if resident is not None and resident.stage == "loading":
        board.state = ledger.leave(board.state, model, device, board.now.wall_s)
        board.state = ledger.release_bytes(board.state, model, device, leaked_bytes=0)
