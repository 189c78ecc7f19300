"""What a preparer is asked for, the same from the engine and from `citadel prepare`."""

from __future__ import annotations

from pathlib import Path

from engine.core.models import ModelSpec
from engine.weights.sources import Source
from engine.worker.protocol import Prepare


def preparation_of(spec: ModelSpec, source: Source, folder: Path, request_id: int) -> Prepare:
    """The request that has the model's slab written to `folder`."""
    given = f"path:{source.folder}" if source.synthetic_kind is None else source.text
    return Prepare(request_id, spec.name, given, str(source.folder), str(folder), spec.task, spec.dtype, spec.sha256)
