"""One vector from the vectors of a text's tokens, in the way that the checkpoint was trained for."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import msgspec
import torch
from msgspec import Struct

from engine.weights.errors import BadCheckpoint
from engine.weights.recipes import Pooling

POOLING_FILE: Final = "1_Pooling/config.json"
MODULES_FILE: Final = "modules.json"
KNOWN_MODULES: Final = frozenset({"Transformer", "Pooling", "Normalize"})
_FEWEST_TOKENS: Final = 1e-9

T = TypeVar("T")


class _PoolingConfig(Struct, frozen=True):
    """A checkpoint's own word on pooling, in the older and the newer spelling of sentence-transformers."""

    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode: str = ""


class _Module(Struct, frozen=True):
    type: str
    """As Python imports it: `sentence_transformers.models.Pooling`."""


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector a row: the first token's, or the mean over the tokens that are not padding."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=_FEWEST_TOKENS)


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


def _read(path: Path, kind: type[T], otherwise: T) -> T:
    if not path.is_file():
        return otherwise
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error
