"""Pointing a skeleton's tensors at a placed slab, and away from it again."""

from __future__ import annotations

from typing import Final

import torch

from engine.worker.memory import Placement
from engine.worker.skeleton import Skeleton
from engine.worker.window import TORCH_DTYPES

_NOTHING: Final = {name: torch.empty(0, dtype=dtype) for name, dtype in TORCH_DTYPES.items()}


def bind(skeleton: Skeleton, placement: Placement) -> None:
    """Make every parameter and buffer lie on the slab. Never call it in inference mode: views made there can't be used outside
    it."""
    skeleton.reset()
    skeleton.stage = "bound"
    for tensor, entry in skeleton.places:
        tensor.data = placement.tensor(entry)


def unbind(skeleton: Skeleton) -> None:
    """Leave the tensors without elements, so that a use that comes too late raises instead of reading other bytes."""
    for tensor, entry in skeleton.places:
        tensor.data = _NOTHING[entry.dtype]
    skeleton.stage = "left"
