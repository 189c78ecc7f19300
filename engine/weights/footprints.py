"""The estimated footprint of a model, from what its source says of itself before any weight is read."""

from __future__ import annotations

from engine.core.footprint import estimate
from engine.core.models import DTYPE_BYTES, Footprint, ModelSpec
from engine.weights.architecture import architecture_of, read_architecture
from engine.weights.header import weights_bytes
from engine.weights.recipes import RECIPES
from engine.weights.sources import Source


def estimate_footprint(spec: ModelSpec, source: Source) -> Footprint:
    """Bytes that `spec` will need on a device. Raises BadCheckpoint."""
    if source.synthetic_kind is not None:
        recipe = RECIPES[source.synthetic_kind]
        architecture = architecture_of(recipe.config)
        size_bytes = recipe.parameters * DTYPE_BYTES[spec.dtype]
    else:
        architecture = read_architecture(source.folder)
        size_bytes = weights_bytes(source.folder, spec.dtype)
    return estimate(size_bytes, architecture, spec.limits, spec.task, spec.dtype)
