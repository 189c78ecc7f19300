"""The files of a checkpoint that a prepared model is made of, and their SHA-256: kept with the slab, so that its source can
be proven later."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.serialization import Undecodable, from_json
from engine.core.texts import quoted
from engine.weights.checkpoint_json import MOST_JSON_BYTES, lies_within
from engine.weights.errors import BadCheckpoint, ReadStopped
from engine.weights.header import checkpoint_files
from engine.weights.sentence_files import MODULES_FILE
from engine.whole_file import only_files, read_whole

HASH_PIECE_BYTES: Final = 8 << 20


class _Module(Struct, frozen=True):
    path: str = ""


_NO_COMPANIONS: Final = frozenset(
    {
        # weights, which have their own place, or are in a format that is not read
        *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".gguf"),
        *(".ot", ".pdparams", ".npz", ".mlmodel", ".tflite"),
        # code, which is never run
        *(".py", ".pyc", ".so", ".sh", ".ipynb"),
        # what people read, and data
        *(".md", ".rst", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg"),
        *(".csv", ".parquet", ".arrow", ".jsonl", ".log", ".zip", ".gz", ".tar", ".lock", ".incomplete"),
    }
)
_NOTES: Final = ("license", "notice", "readme", "usage_policy", "model.safetensors.index.json")
EXTRA_FOLDERS: Final = ("additional_chat_templates",)
"""Whose files are read beside those of the modules."""


def companions(checkpoint: Path) -> tuple[Path, ...]:
    """The files that the checkpoint's model needs beside its weights: all that are not weights, code, pictures or notes, so
    that none is forgotten whatever its tokenizer calls them. Those of the modules behind the model come with their
    weights."""
    paths = [path for path in checkpoint.glob("*") if _is_companion(path)]
    for folder in (*EXTRA_FOLDERS, *module_folders(checkpoint)):
        paths += (path for path in (checkpoint / folder).rglob("*") if _is_companion(path, ".safetensors"))
    return tuple(sorted(set(paths)))


def module_folders(checkpoint: Path) -> tuple[str, ...]:
    """Folders below the checkpoint that its modules.json names, and those that are found where it has none. Raises
    BadCheckpoint."""
    listed = checkpoint / MODULES_FILE
    if not listed.is_file():
        return tuple(path.parent.name for path in checkpoint.glob("*_*/config.json"))
    try:
        modules = from_json(read_whole(listed, MOST_JSON_BYTES), tuple[_Module, ...])
    except (OSError, Undecodable) as error:
        raise BadCheckpoint(f"{listed} can't be read: {error}; fetch it again") from error
    for module in modules:
        if not lies_within(module.path):
            raise BadCheckpoint(f"{listed} names the folder {quoted(module.path)}, which lies outside of {checkpoint}")
    return tuple(module.path for module in modules if Path(module.path) != Path())


def reads(name: str, but: str = "") -> bool:
    """Whether a file of that name is a companion, or one of the kind `but`, such as `.safetensors`."""
    suffix = Path(name).suffix
    return not name.lower().startswith((".", *_NOTES)) and (suffix.lower() not in _NO_COMPANIONS or suffix == but)


def _is_companion(path: Path, but: str = "") -> bool:
    return path.is_file() and reads(path.name, but)


def sha256_of(path: Path, on_read: Callable[[int], None]) -> str:
    """The file's checksum, in hexadecimal digits; `on_read` gets the bytes of each piece, and may raise to end it. Raises
    BadCheckpoint when it can't be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", opener=only_files) as file:
            while piece := file.read(HASH_PIECE_BYTES):
                digest.update(piece)
                on_read(len(piece))
    except OSError as error:
        raise BadCheckpoint(f"{path} can't be read: {error.strerror}") from error
    return digest.hexdigest()


def source_hashes(checkpoint: Path, on_progress: Callable[[float], None]) -> dict[str, str]:
    """The checksum of each file, by its name in the checkpoint. `on_progress` gets the share that has been read, 0 to 1,
    and may raise to end it. Raises BadCheckpoint when a file can't be read."""
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
    """Names of the files that are not what `known` says, gone and new ones too. Raises BadCheckpoint when one can't be
    read."""
    found = source_hashes(checkpoint, on_progress)
    return tuple(sorted(name for name in {*found, *known} if found.get(name) != known.get(name)))
