"""The estimated footprint of a model, from what its source says of itself before any weight is read: the sizes of its matrices,
and of its architecture, whatever its family calls them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from engine.core.forecast.footprints import Architecture, estimate
from engine.core.models import DTYPE_BYTES, WEIGHT_ONLY, Dtype, Footprint, ModelSpec, matrix_bytes, smaller_dtypes
from engine.weights.errors import BadCheckpoint
from engine.weights.header import weights_bytes
from engine.weights.recipes import RECIPES, Recipe
from engine.weights.sources import CONFIG_FILE, Source

_HIDDEN: Final = ("hidden_size", "n_embd", "d_model", "dim")
_INTERMEDIATE: Final = ("intermediate_size", "n_inner", "d_ff", "hidden_dim")
_LAYERS: Final = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_HEADS: Final = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_USUAL_WIDENING: Final = 4
"""Families that leave the intermediate size out mean four times the hidden size."""


def estimate_footprint(spec: ModelSpec, source: Source) -> Footprint:
    """Bytes that `spec` will need on a device. Raises BadCheckpoint."""
    if source.synthetic_kind is not None:
        recipe = RECIPES[source.synthetic_kind]
        architecture = architecture_of(recipe.config)
        size_bytes = _recipe_bytes(recipe, spec.dtype)
    else:
        architecture = read_architecture(source.folder)
        size_bytes = weights_bytes(source.folder, spec.dtype)
    return estimate(size_bytes, architecture, spec.limits, spec.task, spec.dtype)


def estimate_smaller(spec: ModelSpec, source: Source) -> dict[Dtype, Footprint]:
    """Bytes that `spec` would need in each dtype that makes it smaller. Raises BadCheckpoint."""
    return {dtype: estimate_footprint(replace(spec, dtype=dtype), source) for dtype in smaller_dtypes(spec.dtype)}


def _recipe_bytes(recipe: Recipe, dtype: Dtype) -> int:
    if dtype not in WEIGHT_ONLY:
        return recipe.parameters * DTYPE_BYTES[dtype]
    others = recipe.parameters - sum(rows * columns for rows, columns in recipe.matrices)
    return sum(matrix_bytes(*shape, dtype) for shape in recipe.matrices) + others * DTYPE_BYTES[dtype]


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
