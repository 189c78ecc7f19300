"""Whether a slab in the RAM tier still has the bytes that were prepared, and if not, whether its file has them."""

from __future__ import annotations

import threading
from typing import Literal, TypeAlias

from engine.weights.arena import Arena
from engine.weights.errors import BadCheckpoint, ReadStopped
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared, is_current, verify_checksum

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
