"""Keeps count while a timed replay runs: how long each request waits, and where it runs."""

from __future__ import annotations

from msgspec import Struct

from engine.core.names import CPU, DeviceId
from engine.simulation.figures import Spread, spread


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
