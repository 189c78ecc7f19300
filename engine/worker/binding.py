"""Pointing a skeleton's tensors at a placed slab, and away from it again."""

from __future__ import annotations

import torch

from engine.weights.errors import BadCheckpoint
from engine.worker.memory import Placement
from engine.worker.skeleton import Skeleton


def bind(skeleton: Skeleton, placement: Placement) -> None:
    """Make every parameter and buffer of a skeleton that has been reset lie on the slab. Never call it in inference mode: views
    made there can't be used outside it."""
    views = {entry.path: placement.tensor(entry) for entry in skeleton.layout.entries}
    for alias in skeleton.layout.aliases:
        views[alias.path] = views[alias.stored_as]
    for path, tensor in skeleton.tensors.items():
        tensor.data = views[path]
    check_all_bound(skeleton)


def check_all_bound(skeleton: Skeleton) -> None:
    """Raises BadCheckpoint when a tensor of the module does not have the shape that the layout promised, or is on meta."""
    shapes = {entry.path: entry.shape for entry in skeleton.layout.entries}
    shapes |= {alias.path: shapes[alias.stored_as] for alias in skeleton.layout.aliases}
    for path, shape in shapes.items():
        tensor = skeleton.tensors[path]
        if tensor.is_meta or tuple(tensor.shape) != shape:
            raise BadCheckpoint(f"{skeleton.folder}: {path} could not be bound; prepare the model again")


def unbind(skeleton: Skeleton) -> None:
    """Leave the tensors without elements, so that a use that comes too late raises instead of reading other bytes."""
    for tensor in skeleton.tensors.values():
        tensor.data = torch.empty(0, dtype=tensor.dtype)
