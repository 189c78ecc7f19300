"""The RAM tier's memory: slabs read from disk, in a memory file that is shared with the workers by its descriptor."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Final

from engine.weights.block_sums import block_sum
from engine.weights.errors import BadCheckpoint, DamagedSlab, ReadStopped
from engine.weights.layout import BLOCK_BYTES
from engine.weights.shared_memory import Region, SparseMemory, Touching
from engine.whole_file import only_files

READ_PIECE_BYTES: Final = 8 * BLOCK_BYTES
"""Told at once: large enough for the disk, small enough that a stop is heard soon."""


class Arena:
    """Memory for slabs, `size_bytes` in sum, of which the first `touched_bytes` are touched before their first use.
    `keeps_pages`: whether a freed region's memory stays for the next one, or goes back to the host."""

    def __init__(self, size_bytes: int, touched_bytes: int = 0, keeps_pages: bool = True) -> None:
        self._memory: Final = SparseMemory("citadel-ram-tier", size_bytes, keeps_pages)
        self._touching: Final = Touching(self._memory, touched_bytes)
        self._touching.start()

    @property
    def fd(self) -> int:
        """The memory file's descriptor, for handing to workers."""
        return self._memory.fd

    @property
    def size_bytes(self) -> int:
        """Size of the mapping that workers make: more than can be taken, since regions lie in it with holes between."""
        return self._memory.address_bytes

    @property
    def free_bytes(self) -> int:
        return self._memory.free_bytes

    def allocate(self, length: int) -> Region | None:
        """Room for `length` bytes in one piece, or None when there are not so many."""
        return self._memory.allocate(length)

    def free(self, region: Region) -> None:
        """Take the region back; its bytes may be overwritten from now on."""
        self._memory.free(region)

    def read_file(
        self,
        path: Path,
        file_offset: int,
        region: Region,
        on_read: Callable[[int], None],
        stop: threading.Event,
        block_sums: Sequence[int] = (),
    ) -> None:
        """Fill the region from the file at `file_offset`. Blocks: call it in a thread.

        `on_read` gets the bytes that are there, from the region's beginning; where there are `block_sums`, these bytes are right.
        Raises ReadStopped once `stop` is set, DamagedSlab for a block that is another one than was written, BadCheckpoint when
        the file can't be read or ends too soon; the region stays the caller's.
        """
        try:
            with (
                self._touching.paused(),  # touching clears pages at the speed of memory, which the read and its copies need
                open(path, "rb", buffering=0, opener=only_files) as file,
                memoryview(self._memory.mapping) as whole,
            ):
                done = 0
                while done < region.length:
                    if stop.is_set():
                        raise ReadStopped(f"the read of {path} was taken back")
                    piece_bytes = min(READ_PIECE_BYTES, region.length - done)
                    begin = region.offset + done
                    # A view that is left open would keep the mapping from being closed.
                    with whole[begin : begin + piece_bytes] as piece:
                        _read_piece(file, piece, file_offset + done, block_sums[done // BLOCK_BYTES :])
                    done += piece_bytes
                    on_read(done)
        except _TooSoon as end:
            missing_bytes = file_offset + region.length - end.offset
            raise BadCheckpoint(f"{path} ends {missing_bytes} bytes too soon; prepare it again") from None
        except _WrongBlock as wrong:
            raise DamagedSlab(
                f"{path} is damaged: the MiB from byte {wrong.offset} on is not what was prepared"
            ) from None
        except OSError as error:
            raise BadCheckpoint(f"{path} can't be read: {error.strerror}") from error

    def sha256(self, region: Region, stop: threading.Event) -> str:
        """The checksum of the region's bytes, in hexadecimal digits. Blocks: call it in a thread. Raises ReadStopped once `stop`
        is set, so that whoever sets it may free the region."""
        digest = hashlib.sha256()
        with self.view(region) as whole:
            for begin in range(0, region.length, READ_PIECE_BYTES):
                with whole[begin : begin + READ_PIECE_BYTES] as piece:
                    digest.update(piece)
                if stop.is_set():
                    raise ReadStopped("the region is given up")
        return digest.hexdigest()

    def view(self, region: Region) -> memoryview:
        """The region's bytes. Release it before `close`."""
        with memoryview(self._memory.mapping) as whole:
            return whole[region.offset : region.offset + region.length]

    def close(self) -> None:
        """Unmap the memory. Workers that still map it keep it alive."""
        self._touching.end()
        self._memory.close()


class _AtOffset(Exception):
    """Of the file."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset: Final = offset


class _TooSoon(_AtOffset):
    """It ends there."""


class _WrongBlock(_AtOffset):
    """What begins there is not what was written."""


def _read_piece(file: FileIO, piece: memoryview, offset: int, sums: Sequence[int]) -> None:
    """Block by block, each summed while the processor's cache still has it. Raises _TooSoon, _WrongBlock."""
    for number, begin in enumerate(range(0, len(piece), BLOCK_BYTES)):
        with piece[begin : begin + BLOCK_BYTES] as block:
            done = 0
            while done < len(block):
                count = os.preadv(file.fileno(), [block[done:]], offset + begin + done)
                if count == 0:
                    raise _TooSoon(offset + begin + done)
                done += count
            if sums and block_sum(block) != sums[number]:
                raise _WrongBlock(offset + begin)
