"""How far the engine has read a slab into the RAM tier, so that a load can copy what is there while the rest still comes."""

from __future__ import annotations

import threading
import time
from typing import Final

from engine.worker.errors import SlabNotRead


class Reading:
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


def all_read(length: int) -> Reading:
    """Of a slab that rests in the RAM tier."""
    return Reading(length, length)
