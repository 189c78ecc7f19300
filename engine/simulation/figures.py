"""What a policy made requests wait, and what it moved for them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Moved(Struct):
    """What has moved, counted when it was there."""

    gpu_loads: int = 0
    cpu_loads: int = 0
    reads: int = 0
    evictions: int = 0
    to_gpu_bytes: int = 0
    from_disk_bytes: int = 0
    to_ram_bytes: int = 0
    """Copied back from GPUs."""


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
