"""What a preparer is asked for, the same from the engine and from `citadel prepare`, and its progress in steps worth telling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.core.models import ModelSpec
from engine.weights.sources import Source
from engine.worker.protocol import Prepare


def preparation_of(spec: ModelSpec, source: Source, folder: Path, request_id: int) -> Prepare:
    """The request that has the model's slab written to `folder`."""
    given = f"path:{source.folder}" if source.synthetic_kind is None else source.text
    return Prepare(request_id, spec.name, given, str(source.folder), str(folder), spec.task, spec.dtype, spec.sha256)


def in_hundredths(tell: Callable[[float], None]) -> Callable[[float], None]:
    """`tell`, called with a share of 1 only when that has grown by a hundredth, or is whole."""
    told = 0.0

    def tell_rarely(done: float) -> None:
        nonlocal told
        if done - told >= 0.01 or done >= 1.0:
            told = done
            tell(done)

    return tell_rarely
