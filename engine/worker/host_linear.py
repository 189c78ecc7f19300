"""Linear layers of models that run in float32 on the host, where few rows are multiplied: a step of texts that are being written,
or a lone short text.

torch has MKL multiply them, which on processors that are not Intel's takes up to five times as long for a handful of rows as
oneDNN, which torch carries as well and keeps for other dtypes. Which of the two is quicker here is measured, once in a process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import torch
from torch.nn.functional import linear

MOST_ROWS: Final = 16
"""oneDNN makes a kernel for each number of rows, in a millisecond or two, and keeps it: texts to embed come in every length, and
would fill the memory with kernels that are used once. With more rows it is hardly quicker, too."""
_TRIED_ROWS: Final = (1, 8)
_TRIED_MATRIX: Final = (3072, 768)
_TRIES: Final = 5
_WORTH: Final = 1.2
"""How much quicker it must be: less may be chance."""


class HostLinear(torch.nn.Linear):
    """The same layer: a module becomes one by its class alone."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        # A weight that has left its device has no dimensions to speak of, and must raise: oneDNN would answer with no columns.
        if 0 < rows.numel() <= MOST_ROWS * self.in_features and self.weight.dim() == 2 and rows.dtype == torch.float32:
            return _by_onednn(rows, self.weight, self.bias)
        return super().forward(rows)


def quicken(module: torch.nn.Module) -> None:
    """Have a model that runs on the host use what is quicker here."""
    layers = [
        layer for layer in module.modules() if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32
    ]
    if layers and is_onednn_quicker():
        for layer in layers:
            layer.__class__ = HostLinear


@cache
def is_onednn_quicker() -> bool:
    """Found out in some 20 ms. False where this torch has no such operation, or with another meaning."""
    matrix, bias = torch.rand(_TRIED_MATRIX), torch.rand(_TRIED_MATRIX[0])
    ways: tuple[Callable[..., torch.Tensor], ...] = (linear, _by_onednn)
    took_s = dict.fromkeys(ways, 0.0)
    for count in _TRIED_ROWS:
        rows = torch.rand(count, _TRIED_MATRIX[1])
        try:
            is_same = torch.allclose(_by_onednn(rows, matrix, bias), linear(rows, matrix, bias), rtol=1e-4)
        except (AttributeError, RuntimeError):
            return False
        if not is_same:
            return False
        for way in took_s:
            took_s[way] += min(_timed_s(way, rows, matrix, bias) for _ in range(_TRIES))
    return took_s[linear] >= _WORTH * took_s[_by_onednn]


def _timed_s(way: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> float:
    began_s = time.perf_counter()
    way(*inputs)
    return time.perf_counter() - began_s


def _by_onednn(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    operation: Any = torch.ops.mkldnn._linear_pointwise  # the one that torch.compile uses on the CPU
    product: torch.Tensor = operation(rows, weight, bias, "none", [], "")
    return product
