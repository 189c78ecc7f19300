"""From the name of a memory, as a worker's configuration has it, to that memory."""

from __future__ import annotations

import mmap

from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import TorchCuda, cuda_ordinal
from engine.worker.memory import Backing, HostBacking, RamBacking


def backing_for(
    backing: str, arena: mmap.mmap, limit_bytes: int, page_locks: bool = False, touched_bytes: int = 0
) -> Backing:
    """`page_locks`: whether the RAM tier may be page-locked, which it is only for a card. `touched_bytes`: how much of a
    device in host RAM is touched ahead."""
    match backing:
        case "ram":
            return RamBacking(arena, limit_bytes, touched_bytes)
        case "host":
            return HostBacking(arena, limit_bytes)
        case "none":
            return RamBacking(arena, 0)
    ordinal = cuda_ordinal(backing)
    if ordinal is None:
        raise ValueError(f"there is no backing {backing!r}; there are ram, host, cuda:N and none")
    return CudaBacking(TorchCuda(ordinal), arena, limit_bytes, page_locks)
