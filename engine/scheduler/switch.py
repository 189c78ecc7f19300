"""How a job goes from its command to its end: one synchronous generator a job, resumed after every message.

A flow decides and waits; it never performs. Where it yields, other messages are handled, so the state may be another one
after each `yield`. It ends by returning, or by raising one of the endings below.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

from msgspec.structs import replace

from engine.core import ledger
from engine.core.commands import Load, Origin, singles_of
from engine.core.models import Pin
from engine.core.names import DeviceId
from engine.core.planning.planner import plan
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Refusal, Step, UnpinStep
from engine.core.policy import Policy
from engine.core.records import PhaseName
from engine.core.state import State
from engine.scheduler.board import Board
from engine.scheduler.evict import clear, drain
from engine.scheduler.jobs import Broken, Flow, Job, NoRoom, NotAllowed, PlanChanged, stop_if_withdrawn
from engine.scheduler.load import load
from engine.scheduler.slab_flow import read_meanwhile, stop_reading


def carry_out(board: Board, job: Job) -> Flow:
    """Plan the job's command, wait until the plan may begin, and take its steps in order.

    When a device refuses what it should have room for, plan again without that room: that leads to another victim, another
    device, the CPU, or a refusal with the figures.
    """
    missing_bytes: dict[DeviceId, int] = {}
    while True:
        agreed = job.plan = yield from _agree(board, job, missing_bytes)
        job.waiting_for = ""
        try:
            yield from _take_steps(board, job, agreed)
            return
        except NoRoom as refused:
            if board.state.devices[refused.device].reading.health == "ok":
                missing_bytes[refused.device] = _missing(board.state, refused)


def _missing(state: State, refused: NoRoom) -> int:
    """The least that others must hold beyond the last reading, for the device to have had no room."""
    known = state.devices[refused.device]
    seen_bytes = (known.reading.external_bytes or 0) + known.context_bytes + ledger.charged(state, refused.device)
    return max(1, known.spec.total_bytes - seen_bytes - refused.size_bytes + 1)


def _take_steps(board: Board, job: Job, agreed: Plan) -> Flow:
    """In the plan's order; evictions that follow one another happen side by side, under the claim of the load behind them."""
    _keep_what_was_leaving(board, job, agreed)
    for leaving, then in _turns(agreed.steps):
        job.evicted += tuple(s for s in leaving if s.victim or any(s.model == load.model for load in agreed.loads))
        if isinstance(then, LoadStep):
            yield from _exchange(board, job, leaving, then)
            continue
        yield from clear(board, job, leaving)
        if then is not None:
            _set_pin(board, then)


def _exchange(board: Board, job: Job, leaving: Sequence[EvictStep], coming: LoadStep) -> Flow:
    """Load `coming` into the room that `leaving` makes, and that nobody else is promised meanwhile."""
    if any((s.model, s.device) == (coming.model, coming.device) for s in leaving):
        yield from clear(board, job, leaving)
        leaving = ()
    _claim(board, coming)
    try:
        drain(board, job, leaving)
        read_meanwhile(board, job, coming.model)
        yield from clear(board, job, leaving)
        stop_if_withdrawn(job)
        yield from load(board, job, coming)
    finally:
        _withdraw_claim(board, coming)


def _claim(board: Board, coming: LoadStep) -> None:
    """Count the load's room as taken. While earlier steps of a batch ran, somebody else may have brought the model."""
    model, device = coming.model, coming.device
    if other := next(
        (r for r in board.state.of(model) if r.device == device or r.stage in ("pending", "loading")), None
    ):
        raise Broken(f"{model} has come to {other.device} meanwhile")
    board.state = ledger.pend(board.state, model, device, board.now.wall_s)


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


def policy_for(origin: Origin, policy: Policy) -> Policy:
    """A person may evict a model that came a moment ago; what happens by itself may not, lest two models chase each other."""
    return replace(policy, min_residency_s=0.0) if origin in ("operator", "trial") else policy


def _agree(board: Board, job: Job, missing_bytes: Mapping[DeviceId, int]) -> Generator[PhaseName, None, Plan]:
    """A plan that may begin now. A refusal that may pass by itself is waited for; a person is told of it at once."""
    began_s = board.now.mono_s
    deadline_s = began_s + board.patience.queue_s
    while True:
        state = _without(board.state, missing_bytes)
        in_use_s = board.patience.in_use_s if job.submission.origin == "request" else 0.0
        found = _found(board, job, state, has_waited=board.now.mono_s >= began_s + in_use_s)
        if isinstance(found, Plan):
            if job.submission.confirmed not in (None, found.effects):
                raise PlanChanged(found)
            return found
        if not _may_wait(board, job, found) or board.now.mono_s >= deadline_s:
            raise NotAllowed(found)
        job.waiting_for = found.reason
        yield "queue"
        stop_if_withdrawn(job)


def _found(board: Board, job: Job, state: State, *, has_waited: bool) -> Plan | Refusal:
    """The plan for the job in `state`. A request first waits for running ones to end by themselves; when it has, its model goes
    to the CPU or, where that can't be, takes the place of models in use once their leases end."""
    command, now_s = job.submission.command, board.now.wall_s
    policy = policy_for(job.submission.origin, board.policy)
    if job.submission.origin != "request":
        return plan(state, command, policy, now_s)
    on_gpu = replace(policy, cpu_fallback=False)
    found = plan(state, command, on_gpu, now_s)
    if isinstance(found, Plan) or (found.passes and not has_waited):
        return found
    if isinstance(fallback := plan(state, command, policy, now_s), Plan):
        return fallback
    insisted = plan(_as_if_idle(state), command, on_gpu, now_s)
    job.insists = isinstance(insisted, Plan)
    return insisted if job.insists else fallback


def _as_if_idle(state: State) -> State:
    """`state` as if no request were running on a resident."""
    return replace(state, residents=tuple(replace(r, leases=0) for r in state.residents))


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


def _may_wait(board: Board, job: Job, refusal: Refusal) -> bool:
    asked = [room.device for room in refusal.rooms]
    if any(board.state.devices[device].reading.health == "starting" for device in asked):
        return True
    return job.submission.origin not in ("operator", "trial") and refusal.passes


def _keep_what_was_leaving(board: Board, job: Job, agreed: Plan) -> None:
    """A load of a model that is on its way out, but not past rescue, rescues it: the plan for it has no steps."""
    coming = {load.model for load in agreed.loads}
    for single in singles_of(job.submission.command):
        if not isinstance(single, Load) or single.model in coming:
            continue
        for resident in board.state.of(single.model):
            if resident.stage == "draining" and single.device in (None, resident.device):
                board.state = ledger.rescue(board.state, resident.model, resident.device, board.now.wall_s)


def _withdraw_claim(board: Board, coming: LoadStep) -> None:
    resident = board.state.find(coming.model, coming.device)
    if resident is not None and resident.stage == "pending":
        board.state = ledger.withdraw(board.state, coming.model, coming.device)
        stop_reading(board, coming.model)


def _set_pin(board: Board, step: PinStep | UnpinStep) -> None:
    pin = Pin(step.device) if isinstance(step, PinStep) else None
    board.state = ledger.set_pin(board.state, step.model, pin)
