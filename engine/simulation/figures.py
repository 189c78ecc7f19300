"""What a policy made requests wait, and what it moved for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from engine.core.names import CPU, DeviceId


class Moved(Struct):
    """What has moved, counted when it was there."""

    gpu_loads: int = 0
    cpu_loads: int = 0
    reads: int = 0
    evictions: int = 0
    to_gpu_bytes: int = 0
    from_disk_bytes: int = 0
    """All that was read, of readings that were given up as well."""
    ahead_bytes: int = 0
    """Of those, what was read before anybody waited for it."""
    to_ram_bytes: int = 0
    """Written back from GPUs."""


class Percentiles(Struct, frozen=True):
    """Seconds of many requests: their mean, and the whole curve of what so many of 100 did not exceed."""

    mean_s: float
    percentiles_s: tuple[float, ...]
    """The 0th, 1st, …, 100th: from the shortest to the longest, those between by their place among all."""


class TimedOutcome(Struct, frozen=True):
    """A policy's figures on one trace."""

    requests: int
    denied: int
    """Got no answer: their model was not loaded within the deadlines, or the worker that ran them ended."""
    hits: int
    """Ran at once, on a GPU."""
    on_cpu: int
    """Ran on the CPU."""
    waits: Percentiles | None
    """From the arrival until the model was ready for the request, of those that ran; what the policy answers for."""
    delays: Percentiles | None
    """From the arrival to the answer, beyond the seconds that the work takes on a GPU of its own: the wait, earlier requests
    for the same model, others on the device, and what the CPU takes longer. Of the answered requests."""
    switch_s: float
    """Seconds of copying to GPUs plus seconds of reading from disk, of all loads, whether they ran side by side or not."""
    read_ahead_s: float
    """Seconds of reading from disk before anybody waited for it; not part of the switch seconds."""
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


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """None of nothing. A curve runs from the shortest to the longest, so each of its points is the value nearest to its place;
    a figure that is held against a target takes the rank that is never too low, `core.ranks.nearest_rank`."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return Percentiles(
        mean_s=sum(ordered) / len(ordered),
        percentiles_s=tuple(ordered[round(last * percent / 100)] for percent in range(101)),
    )


class _Open(Struct):
    """A request without an answer."""

    came_s: float
    work_s: float
    device: DeviceId | None = None
    """Where it runs."""


class RequestTally:
    """What has become of each request. Told what happens, in order of time."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._waits_s: dict[int, float] = {}
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
        self._waits_s[lease] = now_s - request.came_s
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

    def waits(self) -> Percentiles | None:
        """From the arrival to the lease, of the requests that got one."""
        return percentiles(tuple(self._waits_s.values()))

    def waited_s(self, leases: Iterable[int]) -> float:
        """Seconds that the requests of `leases` waited for theirs, all together."""
        return sum(self._waits_s.get(lease, 0.0) for lease in leases)

    def delays(self) -> Percentiles | None:
        """From the arrival to the answer, beyond the request's own work, of the requests that were answered."""
        return percentiles(self._delays_s)
