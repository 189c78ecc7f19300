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
from engine.core.planner import plan
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Refusal, Step, UnpinStep
from engine.core.policy import Policy
from engine.core.records import PhaseName
from engine.core.state import State
from engine.runtime.board import Board
from engine.runtime.effects import ReleaseModel
from engine.runtime.jobs import Flow, Job
from engine.runtime.loading import load
from engine.runtime.outcomes import Broken, NoRoom, NotAllowed, PlanChanged, Withdrawn


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
        yield from _clear(board, job, leaving)
        if then is not None:
            _set_pin(board, then)


def _exchange(board: Board, job: Job, leaving: Sequence[EvictStep], coming: LoadStep) -> Flow:
    """Load `coming` into the room that `leaving` makes, and that nobody else is promised meanwhile."""
    if any((s.model, s.device) == (coming.model, coming.device) for s in leaving):
        yield from _clear(board, job, leaving)
        leaving = ()
    _claim(board, coming)
    try:
        yield from _clear(board, job, leaving)
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
    deadline_s = board.now.mono_s + board.patience.queue_s
    while True:
        state, policy = _without(board.state, missing_bytes), policy_for(job.submission.origin, board.policy)
        found = plan(state, job.submission.command, policy, board.now.wall_s)
        if isinstance(found, Plan):
            if job.submission.confirmed not in (None, found.effects):
                raise PlanChanged(found)
            return found
        if not _may_wait(board, job, found) or board.now.mono_s >= deadline_s:
            raise NotAllowed(found)
        job.waiting_for = found.reason
        yield "queue"
        _stop_if_withdrawn(job)


def _without(state: State, missing_bytes: Mapping[DeviceId, int]) -> State:
    """`state` as if others held `missing_bytes` more on each device."""
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


def _clear(board: Board, job: Job, steps: Sequence[EvictStep]) -> Flow:
    """Drain and release the residents of `steps`, side by side."""
    for step in steps:
        if (resident := board.state.find(step.model, step.device)) and resident.stage == "ready":
            board.state = ledger.drain(board.state, step.model, step.device, board.now.wall_s)
    yield from _drained(board, job, steps)
    for step in steps:
        if (resident := board.state.find(step.model, step.device)) and resident.stage == "draining":
            board.state = ledger.leave(board.state, step.model, step.device, board.now.wall_s)
            board.emit(ReleaseModel(step.model, step.device))
    while any((r := board.state.find(s.model, s.device)) and r.stage == "leaving" for s in steps):
        yield "evict"


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
            _stop_if_withdrawn(job)
            for step in leased:
                if (resident := board.state.find(step.model, step.device)) and resident.stage == "ready":
                    raise Withdrawn(f"a request for {step.model} came while it was leaving; it stays on {step.device}")
    except (Broken, Withdrawn):
        for step in steps:
            if (resident := board.state.find(step.model, step.device)) and resident.stage == "draining":
                board.state = ledger.rescue(board.state, step.model, step.device, board.now.wall_s)
        raise
    job.waiting_for = ""


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


def _set_pin(board: Board, step: PinStep | UnpinStep) -> None:
    pin = Pin(step.device) if isinstance(step, PinStep) else None
    board.state = ledger.set_pin(board.state, step.model, pin)


def _stop_if_withdrawn(job: Job) -> None:
    if job.withdrawn:
        raise Withdrawn(job.withdrawn)
