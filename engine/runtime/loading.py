"""The load of one model as a flow: wait for proven room, reserve, read into the RAM tier, bind on the device."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core import ledger
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.plans import LoadStep
from engine.core.ramtier import slabs_to_drop
from engine.core.rates import learned
from engine.core.sizes import format_size
from engine.core.state import Slab
from engine.runtime.board import Board
from engine.runtime.effects import BindModel, DropSlab, KillWorker, ReadSlab, ReleaseModel, StopReading
from engine.runtime.jobs import Flow, Job
from engine.runtime.messages import BindFailed, ModelBound
from engine.runtime.outcomes import Broken, NoRoom, Withdrawn


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
        except Withdrawn:
            _let_go(board, step.model, step.device)
            raise


def _try(board: Board, job: Job, step: LoadStep) -> Flow:
    deadline_s = board.now.mono_s + board.patience.load_s
    yield from _reserve(board, job, step, deadline_s)
    yield from _read(board, job, step, deadline_s)
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


def _read(board: Board, job: Job, step: LoadStep, deadline_s: float) -> Flow:
    """Have the model's slab in the RAM tier."""
    model = step.model
    board.slab_failures.pop(model, None)
    job.tier = job.tier or "ram"
    while (slab := _slab(board, model)) is None or slab.stage != "kept":
        if failure := board.slab_failures.pop(model, None):
            raise Broken(failure.reason, passing=failure.kind == "passing")
        if slab is None:
            _start_reading(board, job, model)
        yield "read"
        if board.state.find(model, step.device) is None:
            raise Broken(f"the worker of {step.device} ended while {model} was read", passing=True)
        if job.withdrawn or board.now.mono_s >= deadline_s:
            board.emit(StopReading(model))
            if job.withdrawn:
                raise Withdrawn(job.withdrawn)
            raise Broken(f"reading {model} took longer than {board.patience.load_s:.0f} s", passing=True)


def _start_reading(board: Board, job: Job, model: ModelName) -> None:
    size_bytes = board.state.models[model].footprint.weights_bytes
    for name in slabs_to_drop(board.state, size_bytes):
        board.state = ledger.drop_slab(board.state, name)
        board.emit(DropSlab(name))
    job.tier = "disk" if board.state.models[model].prepared else "source"
    board.state = ledger.put_slab(board.state, Slab(model, size_bytes, "reading", board.now.wall_s))
    board.emit(ReadSlab(model))


def _fit_footprint(board: Board, step: LoadStep) -> None:
    """The slab tells the weights' true size; charge that instead of the estimate."""
    resident = board.state.find(step.model, step.device)
    footprint = board.state.models[step.model].footprint
    if resident is None:
        raise Broken(f"the worker of {step.device} ended before {step.model} was copied", passing=True)
    more_bytes = footprint.total_bytes - resident.footprint.total_bytes
    if more_bytes > ledger.free(board.state, step.device):
        need = format_size(footprint.total_bytes)
        raise Broken(
            f"{step.model} turned out to need {need}, {format_size(more_bytes)} more than was free on {step.device}"
        )
    board.state = ledger.correct(board.state, step.model, step.device, footprint)


def _bind(board: Board, job: Job, step: LoadStep, deadline_s: float) -> Flow:
    """Copy and bind. A copy under way can't be called back: a withdrawn job waits for it, then lets the model go again."""
    model, device = step.model, step.device
    board.bind_reports.pop(model, None)
    board.emit(BindModel(model, device, board.state.models[model].footprint.workspace_bytes))
    killed = False
    while (report := board.bind_reports.pop(model, None)) is None:
        if board.state.find(model, device) is None:
            why = f"took longer than {board.patience.load_s:.0f} s" if killed else "ended with its worker"
            raise Broken(f"loading {model} on {device} {why}; the worker is started again", passing=True)
        if board.now.mono_s >= deadline_s and not killed:
            killed = True
            board.emit(KillWorker(device))
        yield "copy"
    if isinstance(report, BindFailed) and report.kind in ("no room", "unusable"):
        size_bytes = board.state.models[model].footprint.total_bytes
        raise NoRoom(f"{device} could not take {model}: {report.reason}", device, size_bytes)
    if isinstance(report, BindFailed):
        raise Broken(f"{device} could not take {model}: {report.reason}", passing=report.kind == "passing")
    _arrived(board, job, step, report)
    if job.withdrawn:
        board.state = ledger.leave(board.state, model, device, board.now.wall_s)
        board.emit(ReleaseModel(model, device))
        raise Withdrawn(job.withdrawn)


def _arrived(board: Board, job: Job, step: LoadStep, report: ModelBound) -> None:
    model, device, bound = step.model, step.device, report.bound
    job.clock.enter("copy", board.now.mono_s)
    job.clock.reassign("copy", "warm", bound.warm_s)
    job.clock.reassign("copy", "bind", job.clock.spent_s("copy") - bound.copy_s)
    board.state = ledger.arrive(board.state, model, device, board.now.wall_s)
    if device != CPU:
        weights_bytes = board.state.models[model].footprint.weights_bytes
        ready_s = bound.copy_s + bound.bind_s + bound.warm_s
        board.state = learned(board.state, device, weights_bytes, bound.copy_s, ready_s)
    if slab := _slab(board, model):
        board.state = ledger.put_slab(board.state, replace(slab, used_s=board.now.wall_s))


def _let_go(board: Board, model: ModelName, device: DeviceId) -> None:
    """Undo a reservation that came to nothing; the worker holds nothing of the model."""
    resident = board.state.find(model, device)
    if resident is not None and resident.stage == "loading":
        board.state = ledger.leave(board.state, model, device, board.now.wall_s)
        board.state = ledger.release_bytes(board.state, model, device, leaked_bytes=0)


def _slab(board: Board, model: ModelName) -> Slab | None:
    return next((s for s in board.state.ram.slabs if s.model == model), None)
