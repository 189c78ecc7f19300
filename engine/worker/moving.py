"""Copying a slab to a device as far as it has been read, part by part, until all of it is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from engine.worker.slab_stream import Reading


class Moved(Struct, frozen=True):
    """What it took to have a slab's bytes where they belong."""

    copy_s: float
    """Time in which bytes moved."""
    tail_s: float
    """Time from when all had been read, or from the beginning where that was later, until all had been copied."""


NOTHING_MOVED: Final = Moved(0.0, 0.0)


def follow(reading: Reading, length: int, copy: Callable[[int, int], float]) -> Moved:
    """Copy bytes 0 to `length` with `copy(begin, end)`, each part as soon as it has been read; one that rests in the RAM tier
    is one part. Raises SlabNotRead."""
    started_s = time.perf_counter()
    done_bytes, copy_s = 0, 0.0
    while done_bytes < length:
        end = reading.beyond(done_bytes)
        copy_s += copy(done_bytes, end)
        done_bytes = end
    return Moved(copy_s, time.perf_counter() - max(started_s, reading.whole_at_s))
