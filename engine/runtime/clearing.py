"""The leaving of residents as a flow: their leases end, their weights go back to the RAM tier where that pays, and they are
released."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core import ledger
from engine.core.plans import EvictStep
from engine.core.records import Notice
from engine.runtime.board import Board
from engine.runtime.effects import KillWorker, ReleaseModel, Write
from engine.runtime.jobs import Flow, Job, stop_if_withdrawn
from engine.runtime.outcomes import Broken, Withdrawn
from engine.runtime.slab_waits import is_returning, return_if_worth_it


def clear(board: Board, job: Job, steps: Sequence[EvictStep]) -> Flow:
    """Drain and release the residents of `steps`, side by side. A copy back that comes to nothing holds up nothing: the disk
    has the weights too."""
    drain(board, job, steps)
    yield from _drained(board, job, steps)
    unreleased = [s for s in steps if (r := board.state.find(s.model, s.device)) and r.stage == "draining"]
    for step in unreleased:
        board.state = ledger.leave(board.state, step.model, step.device, board.now.wall_s)
        return_if_worth_it(board, step.model, step.device)
    deadline_s = board.now.mono_s + board.patience.load_s
    while any(_is_leaving(board, step) for step in steps):
        if board.now.mono_s >= deadline_s:
            deadline_s = float("inf")
            _end_copies_back(board, unreleased)
        for step in [s for s in unreleased if not is_returning(board, s.model)]:
            unreleased.remove(step)
            if _is_leaving(board, step):
                board.emit(ReleaseModel(step.model, step.device))
        yield "evict"


def _end_copies_back(board: Board, steps: Sequence[EvictStep]) -> None:
    """Replace the workers whose copies back take too long: a region that they may still write to can be freed only then. The
    victims leave without their copies."""
    late = [step for step in steps if is_returning(board, step.model)]
    for device in dict.fromkeys(step.device for step in late):
        models = " and ".join(step.model for step in late if step.device == device)
        text = (
            f"copying {models} back from {device} took longer than {board.patience.load_s:.0f} s and was given up;"
            f" the worker of {device} is started again"
        )
        board.emit(Write(Notice(board.now.wall_s, "error", text, device)))
        board.emit(KillWorker(device))


def drain(board: Board, job: Job, steps: Sequence[EvictStep]) -> None:
    """Begin to let them go: nobody gets a new lease, unless that rescues them."""
    for step in steps:
        if (resident := board.state.find(step.model, step.device)) and resident.stage == "ready":
            board.state = ledger.drain(board.state, step.model, step.device, board.now.wall_s)
            if job.insists:
                board.state = ledger.give_up(board.state, step.model, step.device)


def _drained(board: Board, job: Job, steps: Sequence[EvictStep]) -> Flow:
    """Wait for the leases of what is to leave; whoever is not past rescue stays when that comes to nothing."""
    deadline_s = board.now.mono_s + board.patience.drain_s
    try:
        while leased := [s for s in steps if (r := board.state.find(s.model, s.device)) and r.leases]:
            names = " and ".join(s.model for s in leased)
            if board.now.mono_s >= deadline_s:
                raise Broken(
                    f"the leases of {names} did not end within {board.patience.drain_s:.0f} s; nothing was evicted"
                )
            job.waiting_for = f"the leases of {names}"
            yield "drain"
            stop_if_withdrawn(job)
            for step in leased:
                if (resident := board.state.find(step.model, step.device)) and resident.stage == "ready":
                    raise Withdrawn(f"a request for {step.model} came while it was leaving; it stays on {step.device}")
    except (Broken, Withdrawn):
        for step in steps:
            if (resident := board.state.find(step.model, step.device)) and resident.stage == "draining":
                board.state = ledger.rescue(board.state, step.model, step.device, board.now.wall_s)
        raise
    job.waiting_for = ""


def _is_leaving(board: Board, step: EvictStep) -> bool:
    resident = board.state.find(step.model, step.device)
    return resident is not None and resident.stage == "leaving"
