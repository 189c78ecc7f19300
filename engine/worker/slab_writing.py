"""Writing the slab of a bound model back to the RAM tier, so that it equals its file byte for byte.

Parameters come from the device: inference never writes to them. Buffers come from the file, since some models write to theirs
(LongRoPE grows its `inv_freq` with long input), and they are small.
"""

from __future__ import annotations

import os

from engine.weights.errors import BadCheckpoint
from engine.weights.slab import open_prepared
from engine.worker.errors import BadRequest
from engine.worker.memory import Placement
from engine.worker.skeleton import Skeleton
from engine.worker.window import Window


def write_slab(skeleton: Skeleton, placement: Placement, target: Window) -> None:
    """Fill `target`. Raises BadRequest when it has another size, BadCheckpoint when the file is not the one that was bound."""
    layout, folder = skeleton.layout, skeleton.folder
    if target.length != layout.length:
        raise BadRequest(f"the slab in {folder} has {layout.length} bytes, not {target.length}")
    prepared = open_prepared(folder)
    if prepared.layout_id != skeleton.layout_id:
        raise BadCheckpoint(f"{folder} was prepared anew since its model was loaded")
    placement.copy_back(target)
    buffers = [entry for entry in layout.entries if entry.kind == "buffer" and entry.length]
    if not buffers:
        return
    with prepared.slab_path.open("rb", buffering=0) as file, target.bytes.numpy().data as whole:
        for entry in buffers:
            with whole[entry.offset : entry.offset + entry.length] as place:
                if os.preadv(file.fileno(), [place], prepared.data_offset + entry.offset) != entry.length:
                    raise BadCheckpoint(f"{prepared.slab_path} ends too soon; prepare it again")
