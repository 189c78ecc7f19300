"""What the host's page cache holds of a file: from there it is read at the speed of memory, else at that of the disk."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Final

from engine.whole_file import only_files

MOSTLY: Final = 0.9
"""A file of which so much is cached is read as if all were."""


def cached_share(path: Path) -> float:
    """How much of the file the page cache holds, 0 to 1, as `mincore` says. Raises OSError; an empty file has no share."""
    with open(path, "rb", opener=only_files) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapping:
        pages = (ctypes.c_ubyte * -(-len(mapping) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapping)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            address, length = ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapping))
            if libc.mincore(address, length, pages):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        finally:
            del start  # a mapping that is pointed at can't be closed
        return sum(page & 1 for page in pages) / len(pages)
