"""A newcomer's weights come before anybody leaves for it: while they are prepared and read, its victims stay and answer.

They leave so early that the last bytes are read when their place is free and most is copied, by what reading, leaving and
copying are predicted to take. Who leaves is planned anew then. Where the RAM tier has no room, they leave at once, as where the
weights are there already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from engine.core.forecast.costs import load_time, reading
from engine.core.names import CPU
from engine.core.planning.ram_tier import has_room
from engine.core.plans import EvictStep, LoadStep, Plan, Tier
from engine.core.prediction import NOTHING, predict
from engine.scheduler.board import TICK_S, Board
from engine.scheduler.jobs import Broken, Flow, Incoming, Job
from engine.scheduler.slab_flow import is_whole, read_if_needed, read_too_long, reading_phase, stop_reading

_FARNESS: Final[dict[Tier, int]] = {"ram": 0, "disk": 1, "source": 2}


def must_fetch(board: Board, job: Job, agreed: Plan) -> bool:
    """Whether the weights of the model that `agreed` loads are to come nearer before its victims leave."""
    step, leaving = agreed.load, _leaving(agreed)
    # Several loads keep the order of their plan: each makes room for the next, and the tier has none for the weights of all.
    if step is None or len(agreed.loads) > 1 or not leaving or any(e.model == step.model for e in leaving):
        return False
    size_bytes = board.state.models[step.model].footprint.weights_bytes
    comes = board.state.ram.find(step.model) is not None or has_room(board.state, size_bytes)
    return comes and not _is_near(board, step, math.inf if job.insists else _clearing_s(leaving))


def fetch(board: Board, job: Job, agreed: Plan) -> Flow:
    """Have the weights prepared and read, as long as `must_fetch` says so.

    Raises Broken where they can't be and Withdrawn where the job was taken back; nobody has left for it then.
    """
    assert agreed.load is not None
    step = agreed.load
    incoming = job.incoming = Incoming(step.model, step.device)
    deadline_s, attempts = board.now.mono_s + board.patience.load_s, board.patience.retries + 1
    stay = " and ".join(e.model for e in _leaving(agreed))
    job.waiting_for = f"its weights; {stay} will leave when they come"
    try:
        while must_fetch(board, job, agreed):
            if failure := incoming.take_failure():
                attempts -= 1
                if not failure.may_pass or not attempts:
                    raise Broken(failure.reason, passing=False)
                job.mishap = failure.reason
            leaving = [r for e in _leaving(agreed) if (r := board.state.find(e.model, e.device))]
            read_if_needed(board, job, step.model, leaving)
            incoming.hear((yield reading_phase(board, step.model)))
            if job.withdrawn or board.now.mono_s >= deadline_s:
                stop_reading(board, step.model)
                job.stop_if_withdrawn()
                raise read_too_long(board, step.model)
    finally:
        job.incoming = None
        job.waiting_for = ""


def as_fetched(board: Board, job: Job, found: Plan) -> Plan:
    """`found` with the whole load in it, where its weights have been read for this very job: what was waited for counts."""
    step = found.load
    if step is None or len(found.loads) > 1 or job.tier is None or _FARNESS[job.tier] <= _FARNESS[step.tier]:
        return found
    whole = replace(step, tier=job.tier, predicted=load_time(board.state, step.model, step.device, job.tier))
    return replace(found, steps=tuple(whole if s is step else s for s in found.steps))


def _leaving(agreed: Plan) -> Sequence[EvictStep]:
    """Who makes room for the plan's load."""
    step = agreed.load
    return [s for s in agreed.steps if isinstance(s, EvictStep) and step is not None and s.device == step.device]


def _clearing_s(leaving: Sequence[EvictStep]) -> float:
    """Seconds that they take to leave, side by side; infinite where leases have to end first, which nobody can tell."""
    return math.inf if any(e.leases for e in leaving) else max(e.predicted.p50_s for e in leaving)


def _is_near(board: Board, step: LoadStep, clearing_s: float) -> bool:
    """Whether the rest of the weights will have been read by the time that the place is free and the copy has caught up."""
    slab = board.state.ram.find(step.model)
    if slab is None or slab.stage != "filling":
        return is_whole(board, step.model)
    read = reading(board.state, step.model, slab.size_bytes)
    copying = NOTHING if step.device == CPU else predict(board.state.devices[step.device].rates, slab.size_bytes)
    # A moment that no message brings is noticed up to a tick late, and somebody waits for this one.
    return board.now.wall_s >= slab.used_s + read.p50_s - copying.p50_s - clearing_s - TICK_S
