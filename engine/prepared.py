"""Where a model's prepared slab lies, for those who need no more of it than the file."""

from __future__ import annotations

from pathlib import Path

from engine.api import EngineError
from engine.core.models import ModelSpec
from engine.weights.errors import WeightsError
from engine.weights.slab import open_prepared
from engine.weights.sources import prepared_folder, resolve


def slab_file(spec: ModelSpec, cache: Path) -> Path:
    """Raises EngineError when the model is not prepared, or its source is not there."""
    try:
        return open_prepared(prepared_folder(spec, resolve(spec, cache), cache)).slab_path
    except WeightsError as error:
        raise EngineError(str(error)) from None
