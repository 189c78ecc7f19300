"""The files of a checkpoint that a prepared model is made of, and their SHA-256: kept with the slab, so that its source can be
proven later."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.weights.errors import BadCheckpoint, ReadStopped
from engine.weights.header import checkpoint_files

HASH_PIECE_BYTES: Final = 8 << 20
COMPANIONS: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "sentencepiece*.model",
    "modules.json",
    "*_Pooling/config.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    "SYNTHETIC",
)
"""Files of a checkpoint that its model needs beside the weights. Never code."""


def companions(checkpoint: Path) -> tuple[Path, ...]:
    """Those of COMPANIONS that the checkpoint has."""
    return tuple(sorted({path for pattern in COMPANIONS for path in checkpoint.glob(pattern) if path.is_file()}))


def sha256_of(path: Path, on_read: Callable[[int], None]) -> str:
    """The file's checksum, in hexadecimal digits; `on_read` gets the bytes of each piece, and may raise to end it. Raises
    BadCheckpoint when it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(HASH_PIECE_BYTES):
                digest.update(piece)
                on_read(len(piece))
    except OSError as error:
        raise BadCheckpoint(f"{path} can't be read: {error.strerror}") from error
    return digest.hexdigest()


def source_hashes(checkpoint: Path, on_progress: Callable[[float], None]) -> dict[str, str]:
    """The checksum of each file, by its name in the checkpoint. `on_progress` gets the share that has been read, 0 to 1, and may
    raise to end it. Raises BadCheckpoint when a file can't be read."""
    paths = (*checkpoint_files(checkpoint), *companions(checkpoint))
    total_bytes, done_bytes = sum(path.stat().st_size for path in paths), 0

    def read(piece_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += piece_bytes
        on_progress(done_bytes / total_bytes)

    return {str(path.relative_to(checkpoint)): sha256_of(path, read) for path in paths}


@contextmanager
def hashing(checkpoint: Path) -> Iterator[Future[dict[str, str]]]:
    """What `source_hashes` finds, on a thread of its own while the block goes on; given up when the block is left before."""
    left = threading.Event()

    def go_on(_done: float) -> None:
        if left.is_set():
            raise ReadStopped(f"{checkpoint} is not needed any more")

    with ThreadPoolExecutor(1, thread_name_prefix="source") as thread:
        try:
            yield thread.submit(source_hashes, checkpoint, go_on)
        finally:
            left.set()


def changed_files(checkpoint: Path, known: Mapping[str, str], on_progress: Callable[[float], None]) -> tuple[str, ...]:
    """Names of the files that are not what `known` says, gone and new ones too. Raises BadCheckpoint when one can't be read."""
    found = source_hashes(checkpoint, on_progress)
    return tuple(sorted(name for name in {*found, *known} if found.get(name) != known.get(name)))
