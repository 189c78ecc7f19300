"""What a checkpoint says of how one vector is made of a text's many: read without torch, so that a way which is not
supported is told before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from engine.weights.errors import BadCheckpoint
from engine.weights.recipes import Pooling
from engine.weights.source_files import MODULES_FILE

POOLING_FILE: Final = "1_Pooling/config.json"
KNOWN_MODULES: Final = frozenset({"Transformer", "Pooling", "Normalize"})

_T = TypeVar("_T")


class _PoolingConfig(Struct, frozen=True):
    """A checkpoint's own word on pooling, in the older and the newer spelling of sentence-transformers."""

    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode: str = ""


class _Module(Struct, frozen=True):
    type: str
    """As Python imports it: `sentence_transformers.models.Pooling`."""


def read_pooling(folder: Path) -> Pooling:
    """What the checkpoint says of its pooling; the mean when it says nothing. Raises BadCheckpoint for other ways."""
    for module in _read(folder / MODULES_FILE, tuple[_Module, ...], ()):
        if module.type.rpartition(".")[2] not in KNOWN_MODULES:
            raise BadCheckpoint(
                f"{folder / MODULES_FILE} asks for {module.type} after the model, which is not supported"
            )
    path = folder / POOLING_FILE
    config = _read(path, _PoolingConfig, _PoolingConfig(pooling_mode="mean"))
    if config.pooling_mode == "cls" or config.pooling_mode_cls_token:
        return "cls"
    if config.pooling_mode == "mean" or config.pooling_mode_mean_tokens:
        return "mean"
    raise BadCheckpoint(f"{path} asks for a pooling that is neither cls nor mean")


def _read(path: Path, kind: type[_T], otherwise: _T) -> _T:
    if not path.is_file():
        return otherwise
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error
