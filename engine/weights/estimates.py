"""The estimated footprint of a model, from what its source says of itself before any weight is read: the sizes of its
matrices, and of its architecture.

Kept apart: an estimate begins from a resolved source, and resolving one reads `weights.architecture`, so that neither can hold
it.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.core.forecast.footprints import estimate
from engine.core.models import DTYPE_BYTES, WEIGHT_ONLY, Dtype, Footprint, ModelSpec, matrix_bytes, smaller_dtypes
from engine.core.sizes import MIB
from engine.weights.architecture import architecture_of, read_architecture
from engine.weights.header import stored_dtype, weights_bytes
from engine.weights.recipes import RECIPES, Recipe
from engine.weights.sources import Source


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


_BESIDE_WEIGHTS: Final = 128 * MIB
"""What a process takes that prepares, beside the weights; 50 MiB were measured, on top of what it shares with others."""


def preparing_bytes(spec: ModelSpec, source: Source) -> int:
    """Memory that preparing takes for a while: the weights whole, in the dtype of the slab or in that of a larger checkpoint."""
    whole: Dtype = "float16" if spec.dtype in WEIGHT_ONLY else spec.dtype
    if source.synthetic_kind is not None:
        recipe = RECIPES[source.synthetic_kind]
        weights = recipe.parameters * max(DTYPE_BYTES[recipe.stored_dtype], DTYPE_BYTES[whole])
    else:
        weights = max(weights_bytes(source.folder, whole), weights_bytes(source.folder, stored_dtype(source.folder)))
    return weights + _BESIDE_WEIGHTS


def _recipe_bytes(recipe: Recipe, dtype: Dtype) -> int:
    if dtype not in WEIGHT_ONLY:
        return recipe.parameters * DTYPE_BYTES[dtype]
    others = recipe.parameters - sum(rows * columns for rows, columns in recipe.matrices)
    return sum(matrix_bytes(*shape, dtype) for shape in recipe.matrices) + others * DTYPE_BYTES[dtype]
