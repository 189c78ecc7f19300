"""What fetching a prepared slab from another engine costs: `python -m benchmarks.slabs`.

One slab over loopback, beside the floors in the same run: one copy of it in memory; the bytes alone through a socket by sendfile;
their SHA-256, which proves them; and writing them to the disk. Each in turn, the best and the median of a few.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from engine.core.models import ModelSpec
from engine.core.serialization import to_json
from engine.slab_peer import OfferedFile, SlabOffer
from engine.weights.layout import TensorFacts, place
from engine.weights.slab import SlabContents, write_prepared
from engine.weights.slab_fetch import fetch_slab
from engine.weights.slab_server import SlabServer
from engine.weights.sources import Source

HERE: Final = "127.0.0.1"
_PIECE_BYTES: Final = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slabs", description=__doc__)
    parser.add_argument("--mb", type=int, default=418, help="of the slab (418)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slabs-") as folder:
        _measured(Path(folder), arguments.mb * 1_000_000, arguments.rounds)
    return 0


def _measured(folder: Path, size_bytes: int, rounds: int) -> None:
    numbers = np.random.default_rng(1).integers(0, 255, size_bytes // 256 * 256, dtype=np.uint8)
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_bytes(to_json({"model_type": "bert"}))
    (checkpoint / "model.safetensors").write_bytes(numbers.tobytes())  # what it was made of is read and proven, too
    facts = TensorFacts("a", "parameter", "U8", numbers.shape, (1,), numbers.nbytes)
    contents = SlabContents("BertModel", "path:x", place([facts]), ())
    made = write_prepared(folder / "one", checkpoint, contents, lambda _: numbers.data, lambda _: None)
    paths = sorted(path for path in made.folder.rglob("*") if path.is_file())
    spec, source = ModelSpec("m", ("path:x",), "embedding"), Source("path:x", checkpoint)
    target = np.empty_like(numbers)
    with closing(SlabServer(HERE, 0, 600.0)) as server:
        files = tuple(OfferedFile(str(path.relative_to(made.folder)), path.stat().st_size) for path in paths)
        offer = SlabOffer(HERE, server.port, server.offer(paths), files, made.layout_id, "float32")
        fetches = iter(range(1000))

        def fetch() -> None:
            cache = folder / f"cache{next(fetches)}"
            fetch_slab(spec, source, cache / "prepared" / "m", offer, threading.Event())

        def copy() -> None:
            target[:] = numbers

        ways: dict[str, Callable[[], object]] = {
            "one copy in memory": copy,
            "the bytes through a socket, by sendfile": lambda: _through_a_socket(made.slab_path, target.data),
            "their SHA-256": lambda: hashlib.sha256(numbers.data).digest(),
            "written to the disk and synced": lambda: _written(folder / "written", numbers),
            "fetched: sent, proven with its source, synced, in its place": fetch,
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                began_s = time.perf_counter()
                way()
                took[name].append(time.perf_counter() - began_s)
    floor = min(took["one copy in memory"]), median(took["one copy in memory"])
    sys.stdout.write("| | s, min / p50 | × one copy, min / p50 |\n|---|--:|--:|\n")
    for name, seconds in took.items():
        best, middle = min(seconds), median(seconds)
        sys.stdout.write(f"| {name} | {best:.3f} / {middle:.3f} | {best / floor[0]:.1f} / {middle / floor[1]:.1f} |\n")


def _through_a_socket(path: Path, into: memoryview) -> None:
    with socket.create_server((HERE, 0)) as listening:

        def send() -> None:
            near, _ = listening.accept()
            with near, path.open("rb") as file:
                near.sendfile(file)

        sending = threading.Thread(target=send)
        sending.start()
        with socket.create_connection(listening.getsockname()) as line:
            done = 0
            while done < len(into) and (came := line.recv_into(into[done : done + _PIECE_BYTES])):
                done += came
        sending.join()


def _written(path: Path, numbers: np.ndarray) -> None:
    with path.open("wb") as file:
        file.write(numbers.data)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(main())
