"""The simulated box at work: performs the scheduler's effects as the executor would, and tells what comes of them and when.

Decides nothing. Reads share the disk equally, and copies to a device its link; a model that is copied while it is still read
is ready when both have ended. A release takes no time, and a worker is there as soon as it is asked for. No slab is ever
damaged, and checking it takes no time.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from itertools import count
from typing import Final, Generic, TypeVar, assert_never

from msgspec import Struct

from engine.core.names import CPU, DeviceId, ModelName
from engine.replay.box import Box
from engine.scheduler.effects import (
    BindModel,
    DropSlab,
    ForgetModel,
    InvalidateSlab,
    KeepPeaks,
    KillWorker,
    KnowModel,
    ReadSlab,
    ReleaseModel,
    StartWorker,
    StopReading,
    StopVerifying,
    VerifySlab,
    Work,
    WriteBackSlab,
)
from engine.scheduler.messages import (
    BindFailed,
    LeaseEnded,
    Message,
    ModelBound,
    ModelReleased,
    SlabFailed,
    SlabNotWrittenBack,
    SlabOpened,
    SlabRead,
    SlabVerified,
    SlabWrittenBack,
    WorkerDown,
    WorkerUp,
)
from engine.simulation.compute import Compute
from engine.simulation.figures import Moved
from engine.worker.protocol import Bound

EventT = TypeVar("EventT")


class Agenda(Generic[EventT]):
    """A heap of events to come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, EventT]] = []
        self._entries = count()

    @property
    def next_s(self) -> float:
        """When the next event is due; infinity when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def put(self, at_s: float, event: EventT) -> None:
        """Have `event` happen at `at_s`."""
        heapq.heappush(self._heap, (at_s, next(self._entries), event))

    def take(self) -> EventT:
        """The next event, taken off. Raises IndexError when there is none."""
        return heapq.heappop(self._heap)[2]

    def forget(self, unwanted: Callable[[EventT], bool]) -> None:
        """Let none of the events to come happen that are `unwanted`."""
        self._heap = [entry for entry in self._heap if not unwanted(entry[2])]
        heapq.heapify(self._heap)


User = TypeVar("User", bound=Hashable)


class SharedRate(Generic[User]):
    """Processor sharing: with n users each gets 1/n of the rate, and what one leaves the others have at once.

    Amounts are bytes where the rate is bytes per second, seconds of work where it is a speed.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left: dict[User, float] = {}
        self._at_s = 0.0
        self._next: tuple[float, User] | None = None

    @property
    def next_s(self) -> float:
        """When the next user will be done; infinity when there is none."""
        return self._next[0] if self._next else math.inf

    def start(self, user: User, amount: float, now_s: float) -> None:
        """From now on `user` takes part, until it has had `amount`."""
        self._pass(now_s)
        self._left[user] = amount
        self._look_ahead()

    def left(self, user: User, now_s: float) -> float:
        """What `user` has yet to have; 0 when it is done."""
        self._pass(now_s)
        return self._left.get(user, 0.0)

    def stop(self, user: User, now_s: float) -> bool:
        """`user` takes part no longer. False when it was done already."""
        self._pass(now_s)
        stopped = self._left.pop(user, None) is not None
        self._look_ahead()
        return stopped

    def take(self) -> User:
        """The user that is done at `next_s`, taken off."""
        assert self._next is not None
        done_s, user = self._next
        self._pass(done_s)
        del self._left[user]
        self._look_ahead()
        return user

    def _pass(self, now_s: float) -> None:
        if self._left:
            share = (now_s - self._at_s) * self._rate / len(self._left)
            self._left = {user: left - share for user, left in self._left.items()}
        self._at_s = now_s

    def _look_ahead(self) -> None:
        if not self._left:
            self._next = None
            return
        user = min(self._left, key=self._left.__getitem__)
        wait_s = max(0.0, self._left[user]) * len(self._left) / self._rate
        self._next = self._at_s + wait_s, user


class SimulatedRun(Struct, frozen=True):
    """A request that has its lease."""

    lease: int
    work_s: float
    """On a GPU of its own."""


class SimulatedDevice:
    """What its worker is doing. Each model runs one request at a time."""

    def __init__(self, copy_bytes_per_s: float, speed: float) -> None:
        self.copies: SharedRate[ModelName] = SharedRate(copy_bytes_per_s)
        self.returns: SharedRate[ModelName] = SharedRate(copy_bytes_per_s)
        """write-backs, which take nothing from the copies the other way."""
        self.bound_bytes: dict[ModelName, int] = {}
        self._running: SharedRate[ModelName] = SharedRate(speed)
        self._queues: dict[ModelName, deque[SimulatedRun]] = {}

    @property
    def used_bytes(self) -> int:
        return sum(self.bound_bytes.values())

    @property
    def run_ends_s(self) -> float:
        """When the next run ends; infinity when nothing runs."""
        return self._running.next_s

    @property
    def next_s(self) -> float:
        """When a copy or a run ends next; infinity when nothing is under way."""
        return min(self.run_ends_s, self.copies.next_s, self.returns.next_s)

    def run(self, model: ModelName, run: SimulatedRun, now_s: float) -> None:
        """Run the request, after those that the model has already."""
        queue = self._queues.setdefault(model, deque())
        queue.append(run)
        if len(queue) == 1:
            self._running.start(model, run.work_s, now_s)

    def take_ended(self) -> SimulatedRun:
        """The run that ends at `run_ends_s`."""
        now_s = self._running.next_s
        model = self._running.take()
        queue = self._queues[model]
        ended = queue.popleft()
        if queue:
            self._running.start(model, queue[0].work_s, now_s)
        return ended


_PID: Final = 1


class _Copied(Struct, frozen=True):
    """A copy that has ended, or has caught up with the reading that it runs behind."""

    device: DeviceId
    copy_s: float


class _WriteBack(Struct, frozen=True):
    """A write-back to the RAM tier."""

    device: DeviceId
    began_s: float


class SimulatedBox:
    """Disk, devices and what is under way on them."""

    def __init__(self, box: Box, compute: Compute, sizes: Mapping[ModelName, int]) -> None:
        self._box = box
        self._compute = compute
        self._sizes = sizes
        self._disk: SharedRate[ModelName] = SharedRate(box.disk_bytes_per_s)
        self._being_read: set[ModelName] = set()
        self._ahead: ModelName | None = None
        """The one of them that nobody waits for yet."""
        self._copy_began_s: dict[ModelName, float] = {}
        self._waiting: dict[ModelName, _Copied] = {}
        """Copies that wait for their reading."""
        self._writing_back: dict[ModelName, _WriteBack] = {}
        self._devices: dict[DeviceId, SimulatedDevice] = {}
        self._reports: Agenda[Message] = Agenda()
        self.moved = Moved()

    @property
    def next_s(self) -> float:
        """When something happens next; infinity when nothing is under way."""
        devices = self._devices.values()
        return min(self._reports.next_s, self._disk.next_s, *(device.next_s for device in devices))

    def take(self) -> Message | None:
        """What is reported at `next_s`; None for the end of a copy that waits for its reading."""
        now_s = self.next_s
        if self._reports.next_s == now_s:
            return self._reports.take()
        if self._disk.next_s == now_s:
            return self._has_read(self._disk.take(), now_s)
        for name, device in self._devices.items():
            if device.copies.next_s == now_s:
                return self._has_copied(device.copies.take(), name, now_s)
            if device.returns.next_s == now_s:
                return self._has_returned(device.returns.take(), now_s)
            if device.run_ends_s == now_s:
                ended = device.take_ended()
                return LeaseEnded(ended.lease, ended.work_s / self._compute.speed(name))
        raise AssertionError("something is under way, or next_s is infinity")

    def run(self, device: DeviceId, model: ModelName, run: SimulatedRun, now_s: float) -> None:
        """Run a request that has its lease; Return when it has ended."""
        self._devices[device].run(model, run, now_s)

    def perform(self, effect: Work, now_s: float) -> None:
        """Set `effect` in motion."""
        match effect:
            case ReadSlab(model, ahead):
                self._read(model, now_s, ahead=ahead)
            case StopReading(model):
                self._stop_reading(model, now_s)
            case WriteBackSlab(model, device, size_bytes):
                self._writing_back[model] = _WriteBack(device, now_s)
                self._devices[device].returns.start(model, size_bytes, now_s)
            case BindModel(model, device):
                self._bind(model, device, now_s)
            case ReleaseModel(model, device):
                self._release(model, device, now_s)
            case StartWorker(device, after_s):
                self._devices[device] = SimulatedDevice(self._box.copy_bytes_per_s, self._compute.speed(device))
                self._reports.put(now_s + after_s, WorkerUp(device, _PID))
            case KillWorker(device):
                self._kill(device, now_s)
            case VerifySlab(model):
                self._reports.put(now_s, SlabVerified(model, "whole", f"{model}.safetensors"))
            case DropSlab() | StopVerifying() | InvalidateSlab() | KeepPeaks() | KnowModel() | ForgetModel():
                pass
            case _:
                assert_never(effect)

    def _read(self, model: ModelName, now_s: float, *, ahead: bool) -> None:
        self._being_read.add(model)
        if ahead:
            self._ahead = model
        self._disk.start(model, self._sizes[model], now_s)
        self._reports.put(now_s, SlabOpened(model, "disk", self._sizes[model]))

    def _has_read(self, model: ModelName, now_s: float) -> SlabRead:
        size_bytes = self._sizes[model]
        self._note_ahead(model, now_s)
        self._being_read.remove(model)
        self.moved.reads += 1
        self.moved.from_disk_bytes += size_bytes
        if copied := self._waiting.pop(model, None):
            self._reports.put(now_s, self._bound(model, copied.device, copied.copy_s, tail_s=0.0))
        return SlabRead(model, "disk", size_bytes)

    def _stop_reading(self, model: ModelName, now_s: float) -> None:
        """Give the reading up, and with it the copy that runs behind it."""
        if model not in self._being_read:
            return
        self._note_ahead(model, now_s)
        self.moved.from_disk_bytes += self._sizes[model] - round(self._disk.left(model, now_s))
        self._disk.stop(model, now_s)
        self._being_read.remove(model)
        self._reports.put(now_s, SlabFailed(model, "stopped", "it was taken back"))
        for name, device in self._devices.items():
            if device.copies.stop(model, now_s):
                del self._copy_began_s[model]
                self._reports.put(now_s, BindFailed(model, name, "not read", "its slab will not come"))
        if copied := self._waiting.pop(model, None):
            self._reports.put(now_s, BindFailed(model, copied.device, "not read", "its slab will not come"))

    def _note_ahead(self, model: ModelName, now_s: float) -> None:
        """Up to now nobody has waited for the slab, if it is the one that is read ahead."""
        if model == self._ahead:
            self._ahead = None
            self.moved.ahead_bytes += self._sizes[model] - round(self._disk.left(model, now_s))

    def _bind(self, model: ModelName, device: DeviceId, now_s: float) -> None:
        """A copy to a GPU; the CPU runs from the slab itself."""
        self._note_ahead(model, now_s)
        size_bytes = 0 if device == CPU else self._sizes[model]
        self._copy_began_s[model] = now_s
        self._devices[device].copies.start(model, size_bytes, now_s)

    def _has_copied(self, model: ModelName, device: DeviceId, now_s: float) -> ModelBound | None:
        copy_s = now_s - self._copy_began_s.pop(model)
        if model in self._being_read:
            self._waiting[model] = _Copied(device, copy_s)
            return None
        return self._bound(model, device, copy_s, tail_s=copy_s)

    def _has_returned(self, model: ModelName, now_s: float) -> SlabWrittenBack:
        size_bytes, returning = self._sizes[model], self._writing_back.pop(model)
        self.moved.to_ram_bytes += size_bytes
        return SlabWrittenBack(model, returning.device, size_bytes, now_s - returning.began_s)

    def _bound(self, model: ModelName, device: DeviceId, copy_s: float, tail_s: float) -> ModelBound:
        if device == CPU:
            self.moved.cpu_loads += 1
        else:
            self.moved.gpu_loads += 1
            self.moved.to_gpu_bytes += self._sizes[model]
        on = self._devices[device]
        on.bound_bytes[model] = self._sizes[model]
        return ModelBound(model, device, Bound(0, copy_s, 0.0, 0.0, on.used_bytes, tail_s=tail_s))

    def _release(self, model: ModelName, device: DeviceId, now_s: float) -> None:
        on = self._devices[device]
        del on.bound_bytes[model]
        self.moved.evictions += 1
        self._reports.put(now_s, ModelReleased(model, device, leaked_bytes=0, used_bytes=on.used_bytes))

    def _kill(self, device: DeviceId, now_s: float) -> None:
        """The worker ends with all that it was doing; none of that is reported, but that no slab comes back from it."""
        self._devices[device] = SimulatedDevice(self._box.copy_bytes_per_s, self._compute.speed(device))
        self._waiting = {model: copied for model, copied in self._waiting.items() if copied.device != device}
        self._reports.forget(lambda report: isinstance(report, ModelBound | ModelReleased) and report.device == device)
        for model in [model for model, returning in self._writing_back.items() if returning.device == device]:
            del self._writing_back[model]
            self._reports.put(now_s, SlabNotWrittenBack(model))
        self._reports.put(now_s, WorkerDown(device, "was killed by SIGKILL"))
