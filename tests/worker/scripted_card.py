"""A card that is played: real tensors in host RAM, counted as PyTorch's allocator and the driver would count them."""

from __future__ import annotations

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from engine.core.sizes import MIB
from engine.worker.cuda_device import Figures, PagesNotLocked

CONTEXT_BYTES = 3 * MIB


class ScriptedCard:
    """`CudaDevice` for tests. Attributes are what the test makes of it."""

    def __init__(self, total_bytes: int = 256 * MIB) -> None:
        self.total_bytes = total_bytes
        self.context_bytes: int | None = CONTEXT_BYTES
        self.others_bytes = 0
        """Taken by other processes."""
        self.activations_bytes = 0
        """Taken by running models."""
        self.peak_of_run_bytes = 0
        self.keeps_what_is_unused = False
        self.others_take_what_comes_back = False
        self.lock_refusal = ""
        self.copy_error: Exception | None = None
        self.open_error: Exception | None = None
        self.lock_error: Exception | None = None
        self.events: list[str] = []
        self.locked: dict[int, int] = {}
        self._cap_bytes = total_bytes
        self._segments: list[tuple[StorageWeakRef, int]] = []

    def open(self) -> int | None:
        self.events.append("open")
        if self.open_error is not None:
            raise self.open_error
        return self.context_bytes

    def cap(self, limit_bytes: int) -> None:
        self._cap_bytes = limit_bytes

    def allocate(self, length: int) -> torch.Tensor:
        self.events.append("allocate")
        if length > min(self._cap_bytes - self.figures().reserved_bytes, self.figures().free_bytes):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        memory = torch.empty(length, dtype=torch.uint8)
        self._segments.append((StorageWeakRef(memory.untyped_storage()), length))  # type: ignore[no-untyped-call]
        return memory

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> float:
        if self.copy_error is not None:
            raise self.copy_error
        target.copy_(source)
        return 0.001

    def collect(self) -> None:
        self.events.append("collect")
        before_bytes = self.figures().free_bytes
        if not self.keeps_what_is_unused:
            self._segments = [segment for segment in self._segments if _in_use(segment)]
        if self.others_take_what_comes_back:
            self.others_bytes += self.figures().free_bytes - before_bytes

    def figures(self) -> Figures:
        reserved_bytes = self.activations_bytes + sum(length for _, length in self._segments)
        allocated_bytes = self.activations_bytes + sum(seg[1] for seg in self._segments if _in_use(seg))
        taken_bytes = (self.context_bytes or 0) + self.others_bytes + reserved_bytes
        return Figures(self.total_bytes, self.total_bytes - taken_bytes, reserved_bytes, allocated_bytes)

    def restart_peak(self) -> int:
        return self.figures().allocated_bytes

    def peak_bytes(self) -> int:
        return self.figures().allocated_bytes + self.peak_of_run_bytes

    def lock_pages(self, address: int, length: int) -> None:
        if self.lock_error is not None:
            raise self.lock_error
        if self.lock_refusal:
            self.events.append("lock refused")
            raise PagesNotLocked(self.lock_refusal)
        assert address % 4096 == length % 4096 == 0
        assert address not in self.locked
        self.locked[address] = length

    def unlock_pages(self, address: int) -> None:
        del self.locked[address]


def _in_use(segment: tuple[StorageWeakRef, int]) -> bool:
    return not segment[0].expired()  # type: ignore[no-untyped-call]
