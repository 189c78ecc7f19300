"""Touching memory ahead of its first use, which takes many times as long as every later one: in small pieces, in a thread that
rests while bytes are moved."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from engine.weights.sparse import SparseMemory

PIECE_BYTES: Final = 512 << 10
"""Touched at once. The interpreter waits for part of that, so that more would be felt by whatever runs beside it."""


class Touching:
    """Touches the first `size_bytes` of a memory, once."""

    def __init__(self, memory: SparseMemory, size_bytes: int) -> None:
        self._memory: Final = memory
        self._size_bytes: Final = min(size_bytes, memory.limit_bytes)
        self._news: Final = threading.Condition()
        self._pauses = 0
        self._ended = False
        self._thread: Final = threading.Thread(target=self._touch, name="touch", daemon=True)

    def start(self) -> None:
        if self._size_bytes:
            self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is touched meanwhile but the piece that has been begun."""
        with self._news:
            self._pauses += 1
        try:
            yield
        finally:
            with self._news:
                self._pauses -= 1
                self._news.notify_all()

    def wait(self) -> None:
        """Until all has been touched."""
        if self._thread.is_alive():
            self._thread.join()

    def end(self) -> None:
        """Stop for good; the memory may be closed then."""
        with self._news:
            self._ended = True
            self._news.notify_all()
        self.wait()

    def _touch(self) -> None:
        for offset in range(0, self._size_bytes, PIECE_BYTES):
            with self._news:
                self._news.wait_for(lambda: self._ended or not self._pauses)
                if self._ended:
                    return
            if not self._memory.touch(offset, min(PIECE_BYTES, self._size_bytes - offset)):
                return
