"""Reading the sizes of a transformer from its config.json, whatever its family calls them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.core.forecast.footprints import Architecture
from engine.weights.errors import BadCheckpoint

CONFIG_FILE: Final = "config.json"
_HIDDEN: Final = ("hidden_size", "n_embd", "d_model", "dim")
_INTERMEDIATE: Final = ("intermediate_size", "n_inner", "d_ff", "hidden_dim")
_LAYERS: Final = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_HEADS: Final = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_USUAL_WIDENING: Final = 4
"""Families that leave the intermediate size out mean four times the hidden size."""


def read_architecture(folder: Path) -> Architecture:
    """The architecture of the checkpoint in `folder`. Raises BadCheckpoint."""
    path = folder / CONFIG_FILE
    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}") from error
    try:
        return architecture_of(config)
    except KeyError as error:
        raise BadCheckpoint(f"{path} does not say its {error.args[0]}; is it a transformer's?") from error


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a config.json's values describe. Raises KeyError, naming what is missing."""
    hidden = _first(config, _HIDDEN)
    heads = _first(config, _HEADS)
    return Architecture(
        hidden=hidden,
        intermediate=_find(config, _INTERMEDIATE) or hidden * _USUAL_WIDENING,
        layers=_first(config, _LAYERS),
        kv_heads=_find(config, ("num_key_value_heads",)) or heads,
        head_dim=_find(config, ("head_dim", "d_kv")) or hidden // heads,
        vocab=_first(config, ("vocab_size",)),
    )


def _find(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and v > 0), None)


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    value = _find(config, names)
    if value is None:
        raise KeyError(names[0])
    return value
