"""The leaving of residents as a flow: their leases end, then they depart."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core import ledger
from engine.core.plans import EvictStep
from engine.scheduler.board import Board
from engine.runtime.departing import depart, is_leaving
from engine.scheduler.jobs import Flow, Job, stop_if_withdrawn
from engine.runtime.outcomes import Broken, Withdrawn


def clear(board: Board, job: Job, steps: Sequence[EvictStep]) -> Flow:
    """Drain and release the residents of `steps`, side by side."""
    drain(board, job, steps)
    yield from _drained(board, job, steps)
    going = [(s.model, s.device) for s in steps if (r := board.state.find(s.model, s.device)) and r.stage == "draining"]
    yield from depart(board, job, going)
    while any(is_leaving(board, step.model, step.device) for step in steps):  # another job lets go of it
        yield "evict"


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
