"""The RAM tier's memory: one sparse memory file, mapped once, shared with the workers by its descriptor."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.weights.errors import BadCheckpoint, ReadStopped
from engine.weights.regions import PAGE_BYTES, Region, Regions

PIECE_BYTES: Final = 32 << 20
"""Read at once: large enough for the disk, small enough that a stop is heard soon."""


class Arena:
    """Memory for slabs. Pages that were never written cost nothing; those that were stay touched for the next slab."""

    def __init__(self, size_bytes: int) -> None:
        self._regions: Final = Regions(max(size_bytes, PAGE_BYTES))
        self._fd = os.memfd_create("citadel-ram-tier", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, self._regions.size_bytes)
        self._map: Final = mmap.mmap(self._fd, self._regions.size_bytes)

    @property
    def fd(self) -> int:
        """The memory file's descriptor, for handing to workers."""
        return self._fd

    @property
    def size_bytes(self) -> int:
        return self._regions.size_bytes

    @property
    def free_bytes(self) -> int:
        return self._regions.free_bytes

    def allocate(self, length: int) -> Region | None:
        """Room for `length` bytes in one piece, or None."""
        return self._regions.allocate(length)

    def free(self, region: Region) -> None:
        """Give the region back; its bytes may be overwritten from now on."""
        self._regions.free(region)

    def read_file(
        self,
        path: Path,
        file_offset: int,
        region: Region,
        on_progress: Callable[[float], None],
        stop: threading.Event,
    ) -> None:
        """Fill the region from the file at `file_offset`. Blocks: call it in a thread.

        `on_progress` gets the share that is there, 0 to 1. Raises ReadStopped once `stop` is set, BadCheckpoint when
        the file can't be read or ends too soon; the region stays the caller's.
        """
        try:
            with path.open("rb", buffering=0) as file, memoryview(self._map) as whole:
                done = 0
                while done < region.length:
                    if stop.is_set():
                        raise ReadStopped(f"the read of {path} was taken back")
                    piece_bytes = min(PIECE_BYTES, region.length - done)
                    begin = region.offset + done
                    with whole[begin : begin + piece_bytes] as piece:
                        count = os.preadv(file.fileno(), [piece], file_offset + done)
                    if count == 0:
                        raise BadCheckpoint(
                            f"{path} ends {region.length - done} bytes too soon; prepare the model again"
                        )
                    done += count
                    on_progress(done / region.length)
        except OSError as error:
            raise BadCheckpoint(f"{path} can't be read: {error.strerror}") from error

    def view(self, region: Region) -> memoryview:
        """The region's bytes. Release it before `close`."""
        with memoryview(self._map) as whole:
            return whole[region.offset : region.offset + region.length]

    def close(self) -> None:
        """Unmap the memory. Workers that still map it keep it alive."""
        self._map.close()
        os.close(self._fd)
