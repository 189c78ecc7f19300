"""Runs on a CUDA device: what they take at their peak, and what is said when it is too much."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from engine.worker.cuda_device import CudaDevice
from engine.worker.errors import OutOfMemory
from engine.worker.running import Measurement


class CudaRuns:
    """The device's peak belongs to whoever used it meanwhile: a run is measured only when it was alone."""

    def __init__(self, device: CudaDevice, describe: Callable[[], str]) -> None:
        self._device: Final = device
        self._describe: Final = describe
        self._lock: Final = threading.Lock()
        self._running = 0
        self._events = 0
        """Counts all that spoils a measurement: another run that begins, a load, an eviction."""

    def collect(self) -> None:
        self._device.collect()

    def shortage(self, rows: int) -> OutOfMemory:
        return OutOfMemory(
            f"out of memory: a run of {rows} at once found too little, also after all unused memory was given back."
            f" {self._describe()}. The model stays loaded; lower its max_sequence, or evict another model"
        )

    def disturb(self) -> None:
        """Something else takes or gives back memory: runs under way can't be measured any more."""
        with self._lock:
            self._events += 1

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        took = Measurement()
        with self._lock:
            self._events += 1
            self._running += 1
            alone, begun = self._running == 1, self._events
            floor_bytes = self._device.restart_peak() if alone else 0
        try:
            yield took
        finally:
            with self._lock:
                self._running -= 1
                if alone and self._events == begun:
                    took.workspace_bytes = max(0, self._device.peak_bytes() - floor_bytes)
