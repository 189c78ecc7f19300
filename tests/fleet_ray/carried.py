"""`python -m tests.fleet_ray.carried offer|fetch FOLDER HOST`: an end of a slab's way between two hosts. What is offered is said
in FOLDER/offer.json, and what came is printed: bytes and seconds."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np

from engine.core.models import ModelSpec
from engine.core.serialization import from_json, to_json
from engine.slab_peer import OfferedFile, SlabOffer
from engine.weights.layout import TensorFacts, place
from engine.weights.slab import SlabContents, write_prepared
from engine.weights.slab_fetch import fetch_slab
from engine.weights.slab_server import SlabServer
from engine.weights.sources import Source
from tests.weights.checkpoints import write_checkpoint

NUMBERS = np.arange(6 << 20, dtype=np.float32)
"""24 MiB."""


def offer(folder: Path, host: str) -> None:
    facts = TensorFacts("a", "parameter", "F32", NUMBERS.shape, (1,), NUMBERS.nbytes)
    contents = SlabContents("BertModel", "path:x", place([facts]), ())
    checkpoint = write_checkpoint(folder / "checkpoint")
    made = write_prepared(
        folder / "made", checkpoint, contents, lambda _: memoryview(NUMBERS.tobytes()), lambda _: None
    )
    paths = sorted(path for path in made.folder.rglob("*") if path.is_file())
    server = SlabServer(host, 0, 600.0)
    files = tuple(OfferedFile(str(path.relative_to(made.folder)), path.stat().st_size) for path in paths)
    said = SlabOffer(host, server.port, server.offer(paths), files, made.layout_id, "float32")
    (folder / "offer.new").write_bytes(to_json(said))
    (folder / "offer.new").rename(folder / "offer.json")
    threading.Event().wait()


def fetch(folder: Path) -> None:
    spec, source = ModelSpec("m", ("path:x",), "embedding"), Source("path:x", folder / "checkpoint")
    said = from_json((folder / "offer.json").read_bytes(), SlabOffer)
    cache = folder / "cache"
    fetched = fetch_slab(spec, source, cache / "prepared" / "m", said, threading.Event())
    sys.stdout.write(f"{fetched.came_bytes} {fetched.seconds:.1f}\n")


if __name__ == "__main__":
    if sys.argv[1] == "offer":
        offer(Path(sys.argv[2]), sys.argv[3])
    else:
        fetch(Path(sys.argv[2]))
