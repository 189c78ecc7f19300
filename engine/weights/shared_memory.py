"""Which parts of a fixed range of bytes are taken: a first-fit allocator that knows nothing of memory itself."""

from __future__ import annotations

from bisect import insort
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
