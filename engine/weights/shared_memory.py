"""Memory of a fixed size in a wider range of addresses, shared by descriptor: which parts of it are taken, and touching it ahead.

Regions come and go in any order, and the holes that they leave may be too small for the next one though their sum is not.
Addresses cost nothing, so there are several times as many as bytes; what counts is the sum of the regions.
"""

from __future__ import annotations

import mmap
import os
import threading
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

PAGE_BYTES: Final = 4096


class Region(Struct, frozen=True, order=True):
    """A taken part of the range."""

    offset: int
    length: int
    """Bytes asked for; what is taken is `span_bytes`."""

    @property
    def span_bytes(self) -> int:
        return -(-self.length // PAGE_BYTES) * PAGE_BYTES


class Regions:
    """Free and taken parts of `size_bytes`, in whole pages. Free neighbours are always one part."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes: Final = size_bytes // PAGE_BYTES * PAGE_BYTES
        self._free: list[tuple[int, int]] = [(0, self.size_bytes)] if self.size_bytes else []
        """Offset and span of each free part, by offset."""
        self._taken: set[Region] = set()

    @property
    def free_parts(self) -> tuple[tuple[int, int], ...]:
        """Offset and span of each free part, in order."""
        return tuple(self._free)

    @property
    def free_bytes(self) -> int:
        return sum(span for _, span in self._free)

    @property
    def taken_bytes(self) -> int:
        return sum(region.span_bytes for region in self._taken)

    def allocate(self, length: int) -> Region | None:
        """The first free part that holds `length` bytes, or None when none does."""
        if length <= 0:
            raise ValueError(f"a region of {length} bytes can't be taken")
        for index, (offset, span) in enumerate(self._free):
            region = Region(offset, length)
            if span < region.span_bytes:
                continue
            rest = (offset + region.span_bytes, span - region.span_bytes)
            self._free[index : index + 1] = [rest] if rest[1] else []
            self._taken.add(region)
            return region
        return None

    def free(self, region: Region) -> None:
        """Give `region` back. Raises KeyError when it is not taken."""
        self._taken.remove(region)
        insort(self._free, (region.offset, region.span_bytes))
        merged: list[tuple[int, int]] = []
        for offset, span in self._free:
            if merged and sum(merged[-1]) == offset:
                merged[-1] = (merged[-1][0], merged[-1][1] + span)
            else:
                merged.append((offset, span))
        self._free = merged


ADDRESSES_PER_BYTE: Final = 4
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE of Linux 5.14: maps the pages of a range as if they were written."""


class SparseMemory:
    """`limit_bytes` to give out. Pages that were never written cost nothing; those that were stay touched, which makes
    the next use of them many times faster, if the memory `keeps_pages`; else they go back to the host once they are free."""

    def __init__(self, name: str, limit_bytes: int, keeps_pages: bool = True) -> None:
        self._keeps_pages: Final = keeps_pages
        self.limit_bytes: Final = limit_bytes // PAGE_BYTES * PAGE_BYTES
        self._regions: Final = Regions(max(self.limit_bytes, PAGE_BYTES) * ADDRESSES_PER_BYTE)
        self.fd: Final = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self._regions.size_bytes)
        self.mapping: Final = mmap.mmap(self.fd, self._regions.size_bytes)

    @property
    def address_bytes(self) -> int:
        """Size of the mapping."""
        return self._regions.size_bytes

    @property
    def taken_bytes(self) -> int:
        return self._regions.taken_bytes

    @property
    def free_bytes(self) -> int:
        return self.limit_bytes - self._regions.taken_bytes

    def allocate(self, length: int) -> Region | None:
        """Room for `length` bytes in one piece, or None when there are not so many."""
        if Region(0, length).span_bytes > self.free_bytes:
            return None
        region = self._regions.allocate(length)
        # Freed pages stay touched, so that the next read into them is fast. Below the limit they can't be more than it; the first
        # region beyond it could make pages of holes and regions together more than the host has given us.
        if region is not None and region.offset + region.span_bytes > self.limit_bytes:
            self._give_holes_back()
        return region

    def free(self, region: Region) -> None:
        """Take the region back; its bytes may be overwritten from now on."""
        self._regions.free(region)
        if not self._keeps_pages:
            self._give_back(region.offset, region.span_bytes)

    def touch(self, offset: int, length: int) -> bool:
        """Have the pages of a part there before they are written, whoever owns it; what they hold stays. False where the host
        has no memory for them, or no way of doing so."""
        try:
            os.posix_fallocate(self.fd, offset, length)  # clears the pages, which takes longest, beside the interpreter
            self.mapping.madvise(_POPULATE_WRITE, offset, length)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Unmap the memory. Other processes that map it keep it alive."""
        self.mapping.close()
        os.close(self.fd)

    def _give_holes_back(self) -> None:
        """Untouch what no region uses, so that wide addresses never hold more memory than the limit."""
        for offset, span in self._regions.free_parts:
            self._give_back(offset, span)

    def _give_back(self, offset: int, span: int) -> None:
        # MADV_REMOVE and not DONTNEED: it frees the file's pages, which the workers have mapped too.
        self.mapping.madvise(mmap.MADV_REMOVE, offset, span)


TOUCH_PIECE_BYTES: Final = 512 << 10
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
        for offset in range(0, self._size_bytes, TOUCH_PIECE_BYTES):
            with self._news:
                self._news.wait_for(lambda: self._ended or not self._pauses)
                if self._ended:
                    return
            if not self._memory.touch(offset, min(TOUCH_PIECE_BYTES, self._size_bytes - offset)):
                return
