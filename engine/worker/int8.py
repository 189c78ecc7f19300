"""Weight-only int8: linear layers whose matrices are int8 with a float16 scale a row, made once when a model is prepared.

Symmetric quantisation, the largest weight of a row at 127.5 levels: equal, bit for bit, to torchao's `Int8WeightOnlyConfig` on
the float16 model. Its own tensors are wrappers that take no notice of a new `.data`, so that a stale use would answer; these
are plain parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeGuard

import torch
from torch.nn.functional import linear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.weights.errors import BadCheckpoint

COMPUTE_DTYPE: Final = torch.float16
"""Of everything but the matrices: embeddings, head, norms, biases, scales and activations."""
_LEVELS_EACH_WAY: Final = 127.5
"""Half of the distance from -128 to 127."""
_SMALLEST_SCALE: Final = torch.finfo(torch.float32).eps
"""So that a row of zeros has one, too."""


class Int8Linear(torch.nn.Module):
    """A linear layer that makes a matrix of its scales' dtype for each run."""

    bias: torch.nn.Parameter | None

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.nn.Parameter | None) -> None:
        super().__init__()
        self.weight: Final = torch.nn.Parameter(weight, requires_grad=False)
        self.scale: Final = torch.nn.Parameter(scale, requires_grad=False)
        self.register_parameter("bias", bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        # Scaled before it is summed, not after as torchao does: sums of unscaled products leave the range of float16.
        return linear(rows, self.weight * self.scale, self.bias)


def quantised(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix as int8, and its scales as a column of the matrix's own dtype."""
    scale = (matrix.abs().amax(1, keepdim=True) / _LEVELS_EACH_WAY).clamp(min=_SMALLEST_SCALE)
    levels = (matrix.float() * (1 / scale.float())).round_().clamp_(-128, 127)
    return levels.to(torch.int8), scale


def convert(module: PreTrainedModel) -> None:
    """Put the matrices of a float16 model into int8: every linear layer's but the output head's and those that transformers
    keeps in float32. Raises BadCheckpoint when there are none."""
    head = module.get_output_embeddings()  # type: ignore[no-untyped-call]
    paths = [path for path, layer in module.named_modules() if layer is not head and _is_convertible(layer)]
    if not paths:
        raise BadCheckpoint(f"{type(module).__name__} has no linear layers that int8 makes smaller; choose float16")
    for path in paths:  # one after the other: the float16 matrix of each goes before the next is made
        layer = module.get_submodule(path)
        assert _is_convertible(layer)
        module.set_submodule(path, _converted(layer))


def make_places(module: PreTrainedModel, paths: Iterable[str]) -> None:
    """In a module on meta, put such layers where a prepared model has int8. Raises BadCheckpoint when the module lacks one."""
    for path in paths:
        try:
            layer = module.get_submodule(path)
        except AttributeError as error:
            raise BadCheckpoint(f"the prepared model has {path}, which its class lacks; prepare it again") from error
        if not isinstance(layer, torch.nn.Linear | Conv1D):
            raise BadCheckpoint(
                f"{path} was linear when the model was prepared, and is not in its class; prepare it again"
            )
        module.set_submodule(path, _converted(layer))


def _converted(layer: torch.nn.Linear | Conv1D) -> Int8Linear:
    matrix = layer.weight.detach()
    weight, scale = quantised(matrix.t() if isinstance(layer, Conv1D) else matrix)
    return Int8Linear(weight.contiguous(), scale, layer.bias)


def _is_convertible(layer: torch.nn.Module) -> TypeGuard[torch.nn.Linear | Conv1D]:
    """Not a subclass of Linear: whoever makes one may use its matrix in other ways."""
    return (type(layer) is torch.nn.Linear or isinstance(layer, Conv1D)) and layer.weight.dtype == COMPUTE_DTYPE
