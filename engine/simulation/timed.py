"""A timed replay: requests at their times, through the engine's own scheduler, on a simulated box; policies side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from engine.core.insight.budget_use import BudgetMeter, gpus_share
from engine.core.names import ModelName
from engine.core.policy import Eviction, Policy
from engine.core.state import State
from engine.recording.trace import TraceRequest
from engine.replay.box import Box
from engine.scheduler.board import TICK_S, UNBOUNDED, Instant, Patience
from engine.scheduler.effects import (
    AnswerCommand,
    CatalogTaken,
    Deny,
    Effect,
    Grant,
    KeepResidency,
    ReleaseModel,
    StartWorker,
    StopRun,
    Write,
)
from engine.scheduler.messages import LeaseAsked, LeaseEnded, Message, Tick, WorkerDown
from engine.scheduler.scheduler import Scheduler
from engine.simulation.compute import Compute, timed_start
from engine.simulation.figures import RequestTally, TimedOutcome
from engine.simulation.machine import SimulatedBox, SimulatedRun


def replay_timed(
    requests: Sequence[TraceRequest], box: Box, compute: Compute, sizes: Mapping[ModelName, int], policy: Policy
) -> TimedOutcome:
    """Serve `requests` at their times from an empty `box`. Raises TraceError for a model that no GPU can hold."""
    replay = _Replay(requests, timed_start(box, compute, sizes), box, compute, sizes, policy)
    replay.run_until(0)
    return replay.outcome()


class Part(Struct, frozen=True):
    """Some consecutive requests of a trace, and what they cost."""

    requests: int
    switch_s: float
    """Of what was moved from the first one's arrival until that of the first one of the next part."""
    waited_s: float
    """Of all its requests together, until their models were ready for them."""


class PartedOutcome(Struct, frozen=True):
    """A replay in one go, and what each part of the trace had of it: so no part begins with an empty box but the first."""

    whole: TimedOutcome
    parts: tuple[Part, ...]


def replay_in_parts(
    requests: Sequence[TraceRequest],
    start: State,
    box: Box,
    compute: Compute,
    sizes: Mapping[ModelName, int],
    policy: Policy,
    parts: int,
    ended: Callable[[], None],
) -> PartedOutcome:
    """Serve `requests` from `start`, and tell as many parts of them apart. `ended` is called as often, at the end of each."""
    replay = _Replay(requests, start, box, compute, sizes, policy)
    ends = [len(requests) * number // parts for number in range(1, parts + 1)]
    switched_s = [0.0]
    for end in ends:
        replay.run_until(len(requests) - end)
        switched_s.append(replay.switched_s)
        ended()
    return PartedOutcome(
        replay.outcome(),
        tuple(
            Part(end - begin, until_s - from_s, replay.waited_s(range(begin + 1, end + 1)))
            for (begin, end), (from_s, until_s) in zip(pairwise([0, *ends]), pairwise(switched_s), strict=True)
        ),
    )


class _Replay:
    def __init__(
        self,
        requests: Sequence[TraceRequest],
        start: State,
        box: Box,
        compute: Compute,
        sizes: Mapping[ModelName, int],
        policy: Policy,
    ) -> None:
        self._to_come = deque(enumerate(requests, 1))
        self._box = box
        self._compute = compute
        self._scheduler = Scheduler(start, policy, Patience(queue=UNBOUNDED))
        self._machine = SimulatedBox(box, compute, sizes)
        self._tally = RequestTally()
        self._evicted = False
        self._pressed = BudgetMeter()
        """From the first eviction on."""
        self._models: dict[int, ModelName] = {}
        self._now_s = 0.0
        for device in start.devices:
            self._machine.perform(StartWorker(device), self._now_s)

    def run_until(self, to_come: int) -> None:
        """Until no more requests than that are to come; with none, until the last has its answer."""
        while len(self._to_come) > to_come or not (to_come or self._tally.all_settled):
            self._step()

    @property
    def switched_s(self) -> float:
        """Seconds of copying to GPUs plus seconds of reading from disk so far, without what was read ahead."""
        moved = self._machine.moved
        read_bytes = moved.from_disk_bytes - moved.ahead_bytes
        return moved.to_gpu_bytes / self._box.copy_bytes_per_s + read_bytes / self._box.disk_bytes_per_s

    def waited_s(self, leases: Iterable[int]) -> float:
        return self._tally.waited_s(leases)

    def _step(self) -> None:
        """Go on to the next moment at which anything happens."""
        # Ticks only while the scheduler waits for one, or a trace of days would be made of idle seconds. Of one moment, what the
        # box has done comes before the request.
        machine_s = self._machine.next_s
        next_s = min(machine_s, self._to_come[0][1].at_s) if self._to_come else machine_s
        if self._scheduler.is_waiting and self._now_s + TICK_S < next_s:
            self._now_s += TICK_S
            self._handle(Tick())
        elif next_s == machine_s:
            self._now_s = machine_s
            if report := self._machine.take():
                self._reported(report)
        else:
            self._now_s = next_s
            self._ask()

    def _ask(self) -> None:
        lease, request = self._to_come.popleft()
        self._models[lease] = request.model
        self._tally.came(lease, request.work / self._compute.work_per_s, self._now_s)
        self._handle(LeaseAsked(lease, request.model))

    def _reported(self, report: Message) -> None:
        # Before the scheduler hears of it: it may grant the same device to another request at once, which would be taken for one
        # of those that ended with the worker.
        match report:
            case LeaseEnded(lease):
                self._tally.ended(lease, self._now_s)
            case WorkerDown(device):
                self._tally.worker_died(device)
            case _:
                pass
        self._handle(report)

    def _handle(self, message: Message) -> None:
        before = self._scheduler.state
        for effect in self._scheduler.handle(message, Instant(self._now_s, self._now_s)):
            self._perform(effect)
        state = self._scheduler.state
        if self._evicted and state is not before and (share := gpus_share(state)) is not None:
            self._pressed.note(share, self._now_s)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Grant(lease, device):
                work_s = self._tally.granted(lease, device, self._now_s)
                self._machine.run(device, self._models.pop(lease), SimulatedRun(lease, work_s), self._now_s)
            case Deny(lease):
                del self._models[lease]
                self._tally.was_denied(lease)
            case AnswerCommand() | StopRun() | Write() | KeepResidency() | CatalogTaken():
                pass
            case _:
                if isinstance(effect, ReleaseModel):
                    self._evicted = True
                self._machine.perform(effect, self._now_s)

    def outcome(self) -> TimedOutcome:
        tally, moved = self._tally, self._machine.moved
        self._pressed.pass_until(self._now_s)
        pressed = self._pressed.use
        return TimedOutcome(
            requests=tally.requests,
            denied=tally.denied,
            hits=tally.hits,
            on_cpu=tally.on_cpu,
            waits=tally.waits(),
            delays=tally.delays(),
            switch_s=self.switched_s,
            read_ahead_s=moved.ahead_bytes / self._box.disk_bytes_per_s,
            moved=moved,
            filled=pressed.mean if pressed else None,
            simulated_s=self._now_s,
        )


class TimedComparison(Struct, frozen=True):
    """What each policy did."""

    box: Box
    compute: Compute
    sizes: dict[ModelName, int]
    policies: dict[Eviction, TimedOutcome]


def compare_timed(
    requests: Sequence[TraceRequest],
    box: Box,
    compute: Compute,
    sizes: Mapping[ModelName, int],
    evictions: Sequence[Eviction],
) -> TimedComparison:
    """Replay `requests` at their times once for each of `evictions`. Raises TraceError for a model that no GPU can hold."""
    return TimedComparison(
        box=box,
        compute=compute,
        sizes=dict(sizes),
        policies={name: replay_timed(requests, box, compute, sizes, Policy(eviction=name)) for name in evictions},
    )
