"""What a policy made requests wait, and what it moved for them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.core.ledger import budget, charged
from engine.core.names import CPU, DeviceId
from engine.core.planning.placement import gpus
from engine.core.state import State


class Moved(Struct):
    """What has moved, counted when it was there."""

    gpu_loads: int = 0
    cpu_loads: int = 0
    reads: int = 0
    evictions: int = 0
    to_gpu_bytes: int = 0
    from_disk_bytes: int = 0
    to_ram_bytes: int = 0
    """Written back from GPUs."""


class Spread(Struct, frozen=True):
    """Seconds of many requests: their mean, and how they are spread."""

    mean_s: float
    percentiles_s: tuple[float, ...]
    """The 0th, 1st, …, 100th: what so many of 100 requests did not exceed."""


class TimedOutcome(Struct, frozen=True):
    """A policy's figures on one trace."""

    requests: int
    denied: int
    """Got no answer: their model was not loaded within the deadlines, or the worker that ran them ended."""
    hits: int
    """Ran at once, on a GPU."""
    on_cpu: int
    """Ran on the CPU."""
    waits: Spread | None
    """From the arrival until the model was ready for the request, of those that ran; what the policy answers for."""
    delays: Spread | None
    """From the arrival to the answer, beyond the seconds that the work takes on a GPU of its own: the wait, earlier requests
    for the same model, others on the device, and what the CPU takes longer. Of the answered requests."""
    switch_s: float
    """Seconds of copying to GPUs plus seconds of reading from disk, of all loads, whether they ran side by side or not."""
    moved: Moved
    filled: float | None
    """Mean share of the GPUs' budgets that was charged, over the time since the first eviction; None without one."""
    simulated_s: float
    """From the start to the last answer."""

    @property
    def hit_ratio(self) -> float:
        return self.hits / self.requests

    @property
    def cpu_share(self) -> float:
        """Of all requests, those that ran on the CPU."""
        return self.on_cpu / self.requests


def spread(seconds: Sequence[float]) -> Spread | None:
    """The mean and the percentiles, by the nearest rank; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return Spread(
        mean_s=sum(ordered) / len(ordered),
        percentiles_s=tuple(ordered[round(last * percent / 100)] for percent in range(101)),
    )


class _Open(Struct):
    """A request without an answer."""

    came_s: float
    work_s: float
    device: DeviceId | None = None
    """Where it runs."""


class Tally:
    """Told what happens, in order of time."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._waits_s: list[float] = []
        self._delays_s: list[float] = []
        self.requests = self.denied = self.hits = self.on_cpu = 0

    @property
    def all_settled(self) -> bool:
        """Whether each request that came has its answer, or will never have one."""
        return not self._open

    def came(self, lease: int, work_s: float, now_s: float) -> None:
        self._open[lease] = _Open(now_s, work_s)
        self.requests += 1

    def granted(self, lease: int, device: DeviceId, now_s: float) -> float:
        """The request runs on `device`; the seconds that its work takes on a GPU of its own."""
        request = self._open[lease]
        request.device = device
        self._waits_s.append(now_s - request.came_s)
        self.on_cpu += device == CPU
        self.hits += device != CPU and now_s == request.came_s
        return request.work_s

    def ended(self, lease: int, now_s: float) -> None:
        request = self._open.pop(lease)
        self._delays_s.append(max(0.0, now_s - request.came_s - request.work_s))

    def was_denied(self, lease: int) -> None:
        del self._open[lease]
        self.denied += 1

    def worker_died(self, device: DeviceId) -> None:
        """What ran there gets no answer."""
        for lease in [lease for lease, request in self._open.items() if request.device == device]:
            self.was_denied(lease)

    def waits(self) -> Spread | None:
        """From the arrival to the lease, of the requests that got one."""
        return spread(self._waits_s)

    def delays(self) -> Spread | None:
        """From the arrival to the answer, beyond the request's own work, of the requests that were answered."""
        return spread(self._delays_s)


class Filling:
    """The share of the GPUs' budgets that is charged, as a mean over the time since the first eviction."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._at_s = self._share = self._share_seconds = 0.0

    def begin(self, now_s: float) -> None:
        """The first eviction: from now on time counts. Nothing happens when it has begun already."""
        if self._since_s is None:
            self._since_s = self._at_s = now_s

    def note(self, state: State, now_s: float) -> None:
        """The state from `now_s` on."""
        if self._since_s is not None:
            self._share_seconds += self._share * (now_s - self._at_s)
        self._at_s = now_s
        devices = gpus(state)
        self._share = sum(charged(state, d) for d in devices) / sum(budget(state, d) for d in devices)

    def mean(self, now_s: float) -> float | None:
        """Up to `now_s`; None when no time has counted."""
        if self._since_s is None or now_s <= self._since_s:
            return None
        return (self._share_seconds + self._share * (now_s - self._at_s)) / (now_s - self._since_s)
