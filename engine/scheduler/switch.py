"""How a job goes from its command to its end: one synchronous generator a job, resumed after every message.

A flow decides and waits; it never performs. Where it yields, other messages are handled, so the state may be another one
after each `yield`. It ends by returning, or by raising one of the endings of `jobs`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import Load, Origin, singles_of
from engine.core.models import Pin
from engine.core.names import DeviceId
from engine.core.planning.planner import as_if_idle, plan
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Refusal, Step, UnpinStep
from engine.core.policy import Policy
from engine.core.records import PhaseName
from engine.core.state import State
from engine.scheduler.board import Board
from engine.scheduler.evict import clear, drain
from engine.scheduler.fetch import as_fetched, fetch, must_fetch
from engine.scheduler.jobs import Flow, Incoming, Job, NoRoom, NotAllowed, Overtaken, PlanChanged
from engine.scheduler.load import claim, load
from engine.scheduler.messages import LoadReport
from engine.scheduler.slab_flow import read_meanwhile, stop_reading


def carry_out(board: Board, job: Job) -> Flow:
    """Plan the job's command, wait until the plan may begin, and take its steps in order.

    When a device refuses what it should have room for, plan again without that room: that leads to another victim, another
    device, the CPU, or a refusal with the figures. A device that is not well any more needs no such note: plans keep away from
    it by themselves.
    """
    missing_bytes: dict[DeviceId, int] = {}
    began_s = board.now.mono_s
    while True:
        found = yield from _agree(board, job, missing_bytes, began_s)
        agreed = job.plan = as_fetched(board, job, found)
        job.waiting_for = ""
        if must_fetch(board, job, agreed):
            yield from fetch(board, job, agreed)
            continue  # who is in the way may be others by now
        try:
            yield from _take_steps(board, job, agreed)
            return
        except Overtaken:
            job.mishap = "somebody stayed who was to leave; it was planned anew"
        except NoRoom as refused:
            if board.state.devices[refused.device].reading.health == "ok":
                missing_bytes[refused.device] = _missing(board.state, refused)


def policy_for(origin: Origin, policy: Policy) -> Policy:
    """A person may evict a model that came a moment ago; what happens by itself may not, lest two models chase each other."""
    return replace(policy, min_residency_s=0.0) if origin in ("operator", "trial") else policy


# ── agreeing on a plan ───────────────────────────────────────────────────────────────────────────


def _agree(
    board: Board, job: Job, missing_bytes: Mapping[DeviceId, int], began_s: float
) -> Generator[PhaseName, LoadReport | None, Plan]:
    """A plan that may begin now. A refusal that may pass by itself is waited for; a person is told of it at once. `began_s`:
    since when the job has waited for models in use."""
    deadline_s = board.now.mono_s + board.patience.queue_s
    while True:
        state = _without(board.state, missing_bytes)
        in_use_s = board.patience.in_use_s if job.submission.origin == "request" else 0.0
        found = _found(board, job, state, has_waited=board.now.mono_s >= began_s + in_use_s)
        if isinstance(found, Plan) and found.joins:
            job.waiting_for = "; ".join(found.reasons)
            yield "queue"
            job.stop_if_withdrawn()
            # No deadline of its own: that load has one. Its end is where this command begins.
            began_s, deadline_s = board.now.mono_s, board.now.mono_s + board.patience.queue_s
            continue
        if isinstance(found, Plan):
            # What was confirmed is who comes and goes; predicted seconds and reasons may have changed since without harm.
            if job.submission.confirmed not in (None, found.effects):
                raise PlanChanged(found)
            return found
        if not _may_wait(board, job, found) or board.now.mono_s >= deadline_s:
            raise NotAllowed(found)
        job.waiting_for = found.reason
        yield "queue"
        job.stop_if_withdrawn()


def _found(board: Board, job: Job, state: State, *, has_waited: bool) -> Plan | Refusal:
    """The plan for the job in `state`. A request first waits for running ones to end by themselves; when it has, its model goes
    to the CPU or, where that can't be, takes the place of models in use once their leases end.

    The order is the point. A GPU is many times faster than the CPU, so a place that may soon be free is worth some wait; not any
    wait, or steady requests for one model would starve another. The CPU comes before models in use, since it costs nobody
    else anything.
    """
    command, now_s = job.submission.command, board.now.wall_s
    policy = policy_for(job.submission.origin, board.policy)
    if job.submission.origin != "request":
        return plan(state, command, policy, now_s, ending_runs=job.submission.now)
    on_gpu = replace(policy, cpu_fallback=False)
    found = plan(state, command, on_gpu, now_s)
    # A refusal that can't pass by itself is not worth any wait: the CPU is asked at once.
    if isinstance(found, Plan) or ((found.passes or _is_coming_up(state, found)) and not has_waited):
        return found
    if isinstance(fallback := plan(state, command, policy, now_s), Plan):
        return fallback
    insisted = plan(as_if_idle(state), command, on_gpu, now_s)
    # Whoever is a victim now is given up: requests for it wait from here on, else its leases would never end.
    job.insists = isinstance(insisted, Plan)
    return insisted if job.insists else fallback


def _without(state: State, missing_bytes: Mapping[DeviceId, int]) -> State:
    """`state` as if others held `missing_bytes` more on each device."""
    if not missing_bytes:
        return state
    devices = dict(state.devices)
    for device, size_bytes in missing_bytes.items():
        reading = devices[device].reading
        taken = replace(reading, external_bytes=(reading.external_bytes or 0) + size_bytes)
        devices[device] = replace(devices[device], reading=taken)
    return replace(state, devices=devices)


def _missing(state: State, refused: NoRoom) -> int:
    """The least that others must hold beyond the last reading, for the device to have had no room."""
    known = state.devices[refused.device]
    seen_bytes = (known.reading.external_bytes or 0) + known.context_bytes + ledger.charged(state, refused.device)
    # Never 0, also where the figures say that nothing can be missing: the next plan must not be the one that was refused.
    return max(1, known.spec.total_bytes - seen_bytes - refused.size_bytes + 1)


def _is_coming_up(state: State, refusal: Refusal) -> bool:
    """Whether a worker that was asked is coming up, or will be: one that does not answer soon does, or is replaced."""
    healths = [state.devices[room.device].reading.health for room in refusal.rooms]
    return "starting" in healths or "not answering" in healths


def _may_wait(board: Board, job: Job, refusal: Refusal) -> bool:
    if _is_coming_up(board.state, refusal):
        return True  # even a person would only ask again in a moment
    return job.submission.origin not in ("operator", "trial", "queue") and refusal.passes


# ── taking its steps ─────────────────────────────────────────────────────────────────────────────


def _take_steps(board: Board, job: Job, agreed: Plan) -> Flow:
    """In the plan's order; evictions that follow one another happen side by side, under the claim of the load behind them."""
    _keep_what_was_leaving(board, job, agreed)
    for leaving, then in _turns(agreed.steps):
        # Who comes back if this fails: victims, and models that this very plan moves. Whoever was told to leave has left.
        job.evicted += tuple(s for s in leaving if s.victim or any(s.model == load.model for load in agreed.loads))
        if isinstance(then, LoadStep):
            yield from _exchange(board, job, leaving, then)
            continue
        yield from clear(board, job, leaving)
        if then is not None:
            _set_pin(board, then)


def _turns(
    steps: Sequence[Step],
) -> Iterator[tuple[tuple[EvictStep, ...], LoadStep | PinStep | UnpinStep | None]]:
    """`steps` as groups of evictions, each with the step that comes after them."""
    leaving: tuple[EvictStep, ...] = ()
    for step in steps:
        if isinstance(step, EvictStep):
            leaving += (step,)
        else:
            yield leaving, step
            leaving = ()
    if leaving:
        yield leaving, None


def _exchange(board: Board, job: Job, leaving: Sequence[EvictStep], step: LoadStep) -> Flow:
    """Load into the room that `leaving` makes, and that nobody else is promised meanwhile."""
    if any((s.model, s.device) == (step.model, step.device) for s in leaving):
        # Loaded anew where it is: the claim would be a second resident in the same place, so its room is free to others for once.
        yield from clear(board, job, leaving)
        leaving = ()
    claim(board, step.model, step.device)
    incoming = job.incoming = Incoming(step.model, step.device)
    try:
        drain(board, job, leaving)
        read_meanwhile(board, job, step.model)
        yield from incoming.beside(clear(board, job, leaving))
        job.stop_if_withdrawn()
        yield from load(board, job, incoming)
    finally:
        job.incoming = None
        _withdraw_claim(board, step)


def _withdraw_claim(board: Board, coming: LoadStep) -> None:
    """What is left of the claim when the load has ended: nothing, unless it ended before the room was proven."""
    resident = board.state.find(coming.model, coming.device)
    if resident is not None and resident.stage == "pending":
        board.apply(ledger.withdraw, coming.model, coming.device)
        stop_reading(board, coming.model)


def _keep_what_was_leaving(board: Board, job: Job, agreed: Plan) -> None:
    """A load of a model that is on its way out, but not past rescue, rescues it: the plan for it has no steps."""
    coming = {load.model for load in agreed.loads}
    for single in singles_of(job.submission.command):
        if not isinstance(single, Load) or single.model in coming:
            continue
        stays = board.state.places(single.model)
        for resident in board.state.of(single.model):
            meant = resident.device == single.device or (single.device is None and (single.also or not stays))
            if resident.stage == "draining" and meant:
                board.apply(ledger.rescue, resident.model, resident.device, board.now.wall_s)


def _set_pin(board: Board, step: PinStep | UnpinStep) -> None:
    board.apply(ledger.set_pin, step.model, Pin(step.device) if isinstance(step, PinStep) else None)
