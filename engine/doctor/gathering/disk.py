"""How fast the model folder's disk reads, from at most 256 MiB and two seconds of it, without the kernel's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.core.sizes import GIB, MIB, format_room
from engine.doctor.machine import Disk
from engine.weights.layout import SLAB_FILE

LARGEST_READ_BYTES: Final = 256 * MIB
SAMPLE_BYTES: Final = 64 * MIB
"""Of a file made for the purpose, when there is no prepared slab of at least this size."""
LONGEST_S: Final = 2.0
_ROOM_FOR_SAMPLE_BYTES: Final = GIB
_PIECE_BYTES: Final = 8 * MIB


def ask_disk(cache: Path) -> Disk:
    """The disk of `cache`, or of the folder where it would be made."""
    folder = next(path for path in (cache, *cache.parents) if path.is_dir())
    free_bytes = shutil.disk_usage(folder).free
    try:
        if slab := _largest_slab(cache):
            read_bytes, read_s = _read(slab)
            return Disk(str(folder), free_bytes, read_bytes, read_s, f"the prepared slab in {slab.parent.name}")
        if free_bytes < _ROOM_FOR_SAMPLE_BYTES:
            too_full = f"no prepared model is there to read, and {format_room(free_bytes)} is too little for a sample"
            return Disk(str(folder), free_bytes, trouble=too_full)
        with _sample(folder) as path:
            read_bytes, read_s = _read(path)
        return Disk(str(folder), free_bytes, read_bytes, read_s, "a file made for it")
    except OSError as error:
        return Disk(str(folder), free_bytes, trouble=f"{error.filename or folder}: {error.strerror}")


def _largest_slab(cache: Path) -> Path | None:
    slabs = [(path.stat().st_size, path) for path in (cache / "prepared").glob(f"*/{SLAB_FILE}")]
    size_bytes, path = max(slabs, default=(0, cache))
    return path if size_bytes >= SAMPLE_BYTES else None


@contextmanager
def _sample(folder: Path) -> Iterator[Path]:
    """A file on the disk itself; random, since some file systems store zeros as nothing."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".citadel-doctor-") as file:
        piece = os.urandom(_PIECE_BYTES)
        begun_s = time.monotonic()
        while file.tell() < SAMPLE_BYTES and time.monotonic() - begun_s < LONGEST_S:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        yield Path(file.name)


def _read(path: Path) -> tuple[int, float]:
    """Bytes and seconds of one sequential read. The kernel is asked to forget the file first, or memory would be measured."""
    buffer = bytearray(_PIECE_BYTES)
    done = 0
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begun_s = time.perf_counter()
        while done < LARGEST_READ_BYTES and time.perf_counter() - begun_s < LONGEST_S:
            count = file.readinto(buffer)
            if not count:
                break
            done += count
        return done, time.perf_counter() - begun_s
