"""The load of one model as a flow: wait for proven room, reserve, and bind on the device while the slab is being read."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Final

from msgspec.structs import replace

from engine.core import ledger
from engine.core.forecast.calibration import warmed
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.placement import departure
from engine.core.records import PhaseName
from engine.core.sizes import format_room, format_size
from engine.core.state import State
from engine.scheduler.board import Board
from engine.scheduler.effects import BindModel, DropSlab, KillWorker
from engine.scheduler.evict import clear, depart
from engine.scheduler.jobs import Broken, Flow, Incoming, Job, NoRoom, Overtaken, Withdrawn
from engine.scheduler.messages import BindFailed, LoadReport, ModelBound
from engine.scheduler.slab_flow import is_whole, read_too_long, reading_phase, stop_reading, wait_until_open
from engine.worker.protocol import Bound

HOPELESS_S: Final = 2.0
"""After so long without a reason to hope for its room a load is planned anew. A plan may count on a victim of somebody else,
whom a request then keeps where it is; and what others hold of a card is read each second."""
STOP_GRACE_S: Final = 5.0
"""Within which a worker has to answer that the slab it copies will not come."""


def claim(board: Board, model: ModelName, device: DeviceId) -> None:
    """Count the load's room as taken. Somebody else may have brought the model meanwhile: while earlier steps of a batch ran, or
    while a reservation was lost with its worker. Raises Broken.

    The claim comes before the first victim drains. From then on every other plan counts this load as taken and what leaves as
    free, so the sum is right at each moment: claimed later, the room would be promised twice; reserved now, bytes would be
    charged that the device does not have yet.
    """
    if other := next(
        (r for r in board.state.of(model) if r.device == device or r.stage in ("pending", "loading")), None
    ):
        raise Broken(f"{model} has come to {other.device} meanwhile")
    board.apply(ledger.pend, model, device, board.now.wall_s)


def load(board: Board, job: Job, incoming: Incoming) -> Flow:
    """Make the model ready on its device, trying again where that may help."""
    for attempt in range(board.patience.retries + 1):
        try:
            yield from _try(board, job, incoming)
            return
        except Broken as broken:
            _let_go(board, incoming)
            if not broken.passing or attempt == board.patience.retries:
                raise
            job.mishap = broken.reason
        except Withdrawn:
            _let_go(board, incoming)
            raise


def _try(board: Board, job: Job, incoming: Incoming) -> Flow:
    deadline_s = yield from _reserve(board, job, incoming)
    yield from wait_until_open(board, job, incoming, deadline_s)
    _fit_footprint(board, incoming)
    yield from _bind(board, job, incoming, deadline_s)


def _reserve(board: Board, job: Job, incoming: Incoming) -> Generator[PhaseName, LoadReport | None, float]:
    """Wait until the device shows the room, then charge it; the deadline for the rest of the load.

    That a victim has been released is not enough: on a card its bytes are free when the driver says so, and others may have taken
    them. A device whose reading is not `ok` shows nothing, however empty it was. While another plan moves models there it is that
    plan's turn, which has a deadline of its own: only afterwards is the device to blame.
    """
    model, device = incoming.model, incoming.device
    hopeless_since_s, deadline_s = math.inf, board.now.mono_s + board.patience.load_s
    if board.state.find(model, device) is None:  # the attempt before this one has let go of its reservation
        claim(board, model, device)
    while (
        board.state.devices[device].reading.health != "ok"
        or ledger.free(board.state, device) < board.state.models[model].footprint.total_bytes
    ):
        moving = _moved_by_others(board.state, model, device)
        if moving:
            deadline_s = board.now.mono_s + board.patience.load_s
        job.waiting_for = f"room for {model} on {device}{f', where {moving}' if moving else ''}"
        hopeless_since_s = min(hopeless_since_s, board.now.mono_s) if _is_hopeless(board.state, device) else math.inf
        if board.now.mono_s - hopeless_since_s >= HOPELESS_S:
            raise Overtaken
        if board.now.mono_s >= deadline_s:
            raise Broken(_why_no_room(board, model, device))
        incoming.hear((yield "settle"))
        job.stop_if_withdrawn()
    job.waiting_for = ""
    board.apply(ledger.reserve, model, device, board.now.wall_s)
    return deadline_s


def _moved_by_others(state: State, model: ModelName, device: DeviceId) -> str:
    """Which models leave the device or are being loaded there, in words; empty where none is. Victims of the load itself have
    left before."""
    others = [r for r in state.on(device) if r.model != model]
    leaving = [r.model for r in others if r.stage in ("draining", "leaving")]
    coming = [r.model for r in others if r.stage == "loading"]
    words = [f"{', '.join(leaving)} {'is' if len(leaving) == 1 else 'are'} leaving"] if leaving else []
    words += [f"{', '.join(coming)} {'is' if len(coming) == 1 else 'are'} being loaded"] if coming else []
    return " and ".join(words)


def _why_no_room(board: Board, model: ModelName, device: DeviceId) -> str:
    known, within = board.state.devices[device], f"within {board.patience.load_s:.0f} s"
    if known.reading.health != "ok":
        return (
            f"{device} is not well and was not {within}, so that {model} can't be loaded there: {known.reading.reason}"
        )
    free, need = max(0, ledger.free(board.state, device)), board.state.models[model].footprint.total_bytes
    shown = (
        f"{device} did not show room for {model} {within}: {format_room(free)} of {format_size(need)} are free there"
    )
    external = known.reading.external_bytes or 0
    return f"{shown}, and {format_size(external)} are held by other programs" if external else shown


def _is_hopeless(state: State, device: DeviceId) -> bool:
    """Whether the device is well, nobody leaves it, and what is there and coming has no room there together."""
    going = any(r.stage in ("draining", "leaving") for r in state.on(device))
    return state.devices[device].reading.health == "ok" and not going and ledger.headroom(state, device) < 0


def _fit_footprint(board: Board, incoming: Incoming) -> None:
    """The slab tells the weights' true size; charge that instead of the estimate."""
    model, device = incoming.model, incoming.device
    resident, footprint = board.state.find(model, device), board.state.models[model].footprint
    if resident is None:
        raise Broken(f"the worker of {device} ended before {model} was copied", passing=True)
    if footprint == resident.footprint:
        return
    more_bytes = footprint.total_bytes - resident.footprint.total_bytes
    if more_bytes > ledger.free(board.state, device):
        need = format_size(footprint.total_bytes)
        raise Broken(f"{model} turned out to need {need}, {format_size(more_bytes)} more than was free on {device}")
    board.apply(ledger.correct, model, device, footprint)


def _bind(board: Board, job: Job, incoming: Incoming, deadline_s: float) -> Flow:
    """Copy and bind, while the rest is read. A copy of a slab that is there can't be called back: a withdrawn job waits for it,
    then lets the model go again."""
    model, device = incoming.model, incoming.device
    copied_s = job.clock.spent_s("copy")
    board.emit(BindModel(model, device, board.state.models[model].footprint.workspace_bytes))
    report = yield from _bind_report(board, job, incoming, deadline_s)
    if isinstance(report, BindFailed):
        if report.kind == "replaced":
            yield from _give_up_slab(board, job, incoming)
        raise _why_not_bound(board, job, incoming, report)
    _split_time(board, job, report.bound, copied_s)
    _arrive(board, incoming)
    if job.withdrawn:
        yield from depart(board, job, [(model, device)])
        raise Withdrawn(job.withdrawn)


def _bind_report(
    board: Board, job: Job, incoming: Incoming, deadline_s: float
) -> Generator[PhaseName, LoadReport | None, ModelBound | BindFailed]:
    """Wait for what the worker says. Whoever takes too long is stopped: the reading first, else the worker."""
    model, device = incoming.model, incoming.device
    stopped = killed = False
    report: LoadReport | None = None
    # A failed reading alone does not end the wait: the worker still has the slab's region until it has answered "not read".
    while not isinstance(report, ModelBound | BindFailed):
        incoming.hear(report)
        if board.state.find(model, device) is None:
            why = f"took longer than {board.patience.load_s:.0f} s" if killed else "ended with its worker"
            raise Broken(f"loading {model} on {device} {why}; the worker is started again", passing=True)
        is_late, whole = board.now.mono_s >= deadline_s, is_whole(board, model)
        if not (stopped or whole) and (job.withdrawn or is_late):
            # The deadline moves, so that a worker which answers in time is not killed for the slowness of the disk.
            stopped, deadline_s = True, board.now.mono_s + STOP_GRACE_S
            stop_reading(board, model)
        elif is_late and not killed:
            killed = True
            board.emit(KillWorker(device))
        report = yield "copy" if whole else reading_phase(board, model)
    return report


def _why_not_bound(board: Board, job: Job, incoming: Incoming, report: BindFailed) -> Broken | Withdrawn:
    model, device = incoming.model, incoming.device
    if report.kind in ("no room", "unusable", "unsupported"):
        size_bytes = board.state.models[model].footprint.total_bytes
        return NoRoom(f"{device} could not take {model}: {report.reason}", device, size_bytes)
    if report.kind == "replaced":
        return Broken(report.reason, passing=True)
    if report.kind != "not read":
        return Broken(f"{device} could not take {model}: {report.reason}", passing=report.kind == "passing")
    # The worker only knows that no more bytes come. Why: we stopped them, for the job or for the deadline, or the disk failed.
    if job.withdrawn:
        return Withdrawn(job.withdrawn)
    if failure := incoming.take_failure():
        return Broken(failure.reason, passing=failure.may_pass)
    return read_too_long(board, model)


def _give_up_slab(board: Board, job: Job, incoming: Incoming) -> Flow:
    """Let go of a slab whose file was prepared anew, so that the next attempt reads the new one.

    A CPU resident runs from that very slab, which can't be dropped under it; so it is left first, as a victim of this job: the
    model is on its way to `incoming.device`, and comes back to the CPU should that fail. Meanwhile the load is pending again,
    not gone: without it, requests that wait for the model would call for a load of their own, and the place would be promised to
    somebody else.
    """
    model = incoming.model
    job.tier = None  # it is not known yet where the next attempt starts from
    _let_go(board, incoming)
    if on_cpu := board.state.find(model, CPU):
        leaving = departure(board.state, on_cpu)
        board.apply(ledger.pend, model, incoming.device, board.now.wall_s)
        job.evicted += (leaving,)
        job.insists = True  # else requests that come meanwhile would keep it on the CPU, and the load give way
        yield from clear(board, job, [leaving])
        board.apply(ledger.withdraw, model, incoming.device)
    if is_whole(board, model):  # one that is still being read is held against its file when the reading ends
        board.apply(ledger.drop_slab, model)
        board.emit(DropSlab(model))


def _split_time(board: Board, job: Job, bound: Bound, copied_s: float) -> None:
    """Of the time since all was read, what the copy did not take is binding, messages included; `copied_s` had been spent on
    copies before."""
    tail_s = bound.copy_s if bound.tail_s is None else bound.tail_s
    job.clock.enter("copy", board.now.mono_s)
    job.clock.reassign("copy", "warm", bound.warm_s)
    job.clock.reassign("copy", "bind", job.clock.spent_s("copy") - copied_s - tail_s)


def _arrive(board: Board, incoming: Incoming) -> None:
    board.apply(_arrived, incoming.model, incoming.device, board.now.wall_s)
    if slab := board.state.ram.find(incoming.model):
        board.apply(ledger.put_slab, replace(slab, used_s=board.now.wall_s, ahead=""))


def _arrived(state: State, model: ModelName, device: DeviceId, now_s: float) -> State:
    return warmed(ledger.arrive(state, model, device, now_s), model, device)


def _let_go(board: Board, incoming: Incoming) -> None:
    """Undo a reservation that came to nothing; the worker holds nothing of the model. One that a death has undone is gone."""
    model, device = incoming.model, incoming.device
    resident = board.state.find(model, device)
    if resident is not None and resident.stage == "loading":
        board.apply(ledger.leave, model, device, board.now.wall_s)
        board.apply(ledger.release_bytes, model, device, leaked_bytes=0)
