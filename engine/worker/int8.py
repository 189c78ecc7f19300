"""Weight-only int8: linear layers whose matrices are int8 with a float16 scale a row, made once when a model is prepared.

Symmetric quantisation, the largest weight of a row at 127.5 levels: equal, bit for bit, to torchao's `Int8WeightOnlyConfig` on
the float16 model. Its own tensors are wrappers that take no notice of a new `.data`, so that a stale use would answer; these
are plain parameters. Kept apart: each weight-only dtype is a file of its own, beside `weight_only`, which puts them in place.
"""

from __future__ import annotations

from typing import Final

import torch
from torch.nn.functional import linear

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
