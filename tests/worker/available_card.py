"""A real card, or a stand-in for one, as tests use it: whether there is one, and slices of it that leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import TorchCuda
from tests.worker.models import Tier


def why_no_card() -> str:
    """The reason why not, or nothing."""
    if torch.version.cuda is None:
        return f"needs a CUDA device, and torch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else "needs a CUDA device, and none is visible"


class LockCountingCard(TorchCuda):
    """The first card, which knows what it has locked."""

    def __init__(self) -> None:
        super().__init__(0)
        self._locked: set[int] = set()

    def lock_pages(self, address: int, length: int) -> None:
        super().lock_pages(address, length)
        self._locked.add(address)

    def unlock_pages(self, address: int) -> None:
        super().unlock_pages(address)
        self._locked.discard(address)

    def unlock_all(self) -> None:
        """To be called before the RAM tier goes: a lock outlives it, and a card would go on reading its old pages."""
        for address in tuple(self._locked):
            self.unlock_pages(address)


@contextmanager
def slice_of_a_card(tier: Tier, limit_bytes: int) -> Iterator[CudaBacking]:
    """A slice of the first card. Its limit is the process's, and goes with the block as its page-locks do."""
    card = LockCountingCard()
    yield CudaBacking(card, tier.mapping, limit_bytes, page_locks=True)
    card.unlock_all()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0, 0)
