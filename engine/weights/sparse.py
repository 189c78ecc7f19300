"""Memory of a fixed size in a wider range of addresses, shared by descriptor.

Regions come and go in any order, and the holes that they leave may be too small for the next one though their sum is not.
Addresses cost nothing, so there are several times as many as bytes; what counts is the sum of the regions.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from engine.weights.shared_memory import PAGE_BYTES, Region, Regions

ADDRESSES_PER_BYTE: Final = 4
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE of Linux 5.14: maps the pages of a range as if they were written."""


class SparseMemory:
    """`limit_bytes` to give out. Pages that were never written cost nothing; those that were stay touched, which makes
    the next use of them many times faster."""

    def __init__(self, name: str, limit_bytes: int) -> None:
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
        if region is not None and region.offset + region.span_bytes > self.limit_bytes:
            self._give_holes_back()
        return region

    def free(self, region: Region) -> None:
        """Take the region back; its bytes may be overwritten from now on."""
        self._regions.free(region)

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
            self.mapping.madvise(mmap.MADV_REMOVE, offset, span)
