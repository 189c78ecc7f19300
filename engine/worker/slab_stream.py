"""A slab on its way: how far the engine has read it into the RAM tier, and copying what is there while the rest still comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from engine.worker.errors import SlabNotRead


class SlabStream:
    """Advanced by the thread that hears the engine, waited on by the one that copies."""

    def __init__(self, length: int, read_bytes: int) -> None:
        self._length: Final = length
        self._read_bytes = read_bytes
        self._whole_at_s = time.perf_counter()
        self._stopped = ""
        self._news: Final = threading.Condition()

    @property
    def whole_at_s(self) -> float:
        """When the last byte was there, by `time.perf_counter`; of use once it is."""
        return self._whole_at_s

    def advance(self, read_bytes: int) -> None:
        """So many bytes are there now, from the slab's beginning."""
        with self._news:
            self._read_bytes = max(self._read_bytes, read_bytes)
            self._whole_at_s = time.perf_counter()
            self._news.notify_all()

    def stop(self, reason: str) -> None:
        """No more will come."""
        with self._news:
            self._stopped = reason
            self._news.notify_all()

    def beyond(self, done_bytes: int) -> int:
        """Wait for more than `done_bytes`; how many are there. Raises SlabNotRead when no more will come."""
        with self._news:
            self._news.wait_for(lambda: self._stopped or self._read_bytes > done_bytes)
            if self._stopped:
                raise SlabNotRead(self._stopped)
            return min(self._read_bytes, self._length)


def all_read(length: int) -> SlabStream:
    """Of a slab that rests in the RAM tier."""
    return SlabStream(length, length)


class CopyTimes(Struct, frozen=True):
    """What it took to have a slab's bytes where they belong."""

    copy_s: float
    """Time in which bytes moved."""
    tail_s: float
    """Time from when all had been read, or from the beginning where that was later, until all had been copied."""


NOTHING_MOVED: Final = CopyTimes(0.0, 0.0)


def follow(reading: SlabStream, length: int, copy: Callable[[int, int], float]) -> CopyTimes:
    """Copy bytes 0 to `length` with `copy(begin, end)`, each part as soon as it has been read; one that rests in the RAM tier
    is one part. Raises SlabNotRead."""
    started_s = time.perf_counter()
    done_bytes, copy_s = 0, 0.0
    while done_bytes < length:
        end = reading.beyond(done_bytes)
        copy_s += copy(done_bytes, end)
        done_bytes = end
    return CopyTimes(copy_s, time.perf_counter() - max(started_s, reading.whole_at_s))
