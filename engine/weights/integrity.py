"""Whether a slab still has the bytes that were prepared, in the RAM tier and on the disk, and how a damaged one is given up."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from engine.weights.arena import Arena
from engine.weights.errors import BadCheckpoint, ReadStopped
from engine.weights.layout import LAYOUT_FILE
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared, is_current
from engine.weights.source_files import HASH_PIECE_BYTES
from engine.whole_file import only_files

SlabCondition: TypeAlias = Literal["whole", "altered", "damaged", "replaced"]
"""`altered`: the bytes in memory are others, those of the file are right. `damaged`: the file's are wrong too. `replaced`: the
file is another one than was read."""


def find_damage(arena: Arena, region: Region, prepared: Prepared, stop: threading.Event) -> SlabCondition:
    """Compare the region with the checksum of the slab that was read into it, and the file too where they differ.

    Blocks for as long as SHA-256 takes: call it in a thread. Raises ReadStopped once `stop` is set; whoever frees the region
    has to set it first.
    """

    def go_on(_done: float) -> None:
        if stop.is_set():
            raise ReadStopped(f"checking {prepared.slab_path} was taken back")

    is_right = arena.sha256(region, stop) == prepared.layout.sha256
    if not is_current(prepared):
        return "replaced"
    if is_right:
        return "whole"
    try:
        verify_checksum(prepared, go_on)
    except BadCheckpoint:
        return "damaged" if is_current(prepared) else "replaced"
    return "altered"


def verify_checksum(prepared: Prepared, on_progress: Callable[[float], None]) -> None:
    """Read the whole slab from the disk and compare it with its checksum. Raises BadCheckpoint when a byte differs."""
    digest = hashlib.sha256()
    try:
        with open(prepared.slab_path, "rb", opener=only_files) as file:
            # else the bytes would come from the page cache, which says nothing about the disk
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(prepared.data_offset)
            while piece := file.read(HASH_PIECE_BYTES):
                digest.update(piece)
                on_progress((file.tell() - prepared.data_offset) / prepared.length)
    except OSError as error:
        raise BadCheckpoint(f"{prepared.slab_path} can't be read: {error.strerror}") from error
    if digest.hexdigest() != prepared.layout.sha256:
        raise BadCheckpoint(
            f"{prepared.slab_path} does not have the bytes that were written; `citadel prepare MODEL --check` mends it"
        )


def disown(folder: Path) -> None:
    """Have the prepared folder, whose slab is damaged, taken for whole no more. The slab stays, for whoever wants to look at it,
    until the model is prepared again. Raises OSError."""
    (folder / LAYOUT_FILE).unlink(missing_ok=True)
