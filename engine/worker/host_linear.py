"""Linear layers of models that run in float32 on the host, where few rows are multiplied: a step of texts that are being written,
or a lone short text.

torch has MKL multiply them, which on AMD's processors takes two to five times as long for a handful of rows as oneDNN, which it
carries as well and keeps for other dtypes. By the maker and not by a measurement: the two round differently, and a model is to
answer alike whenever it runs on a machine. Kept apart: `residents` knows of places and not of products.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

MOST_ROWS: Final = 16
"""oneDNN makes a kernel for each number of rows, in a millisecond or two, and keeps it: texts to embed come in every length, and
would fill the memory with kernels that are used once. With more rows it is hardly quicker, too."""
_MAKERS: Final = ("AuthenticAMD", "HygonGenuine")
"""Of processors on which that was measured, and their twins, as the kernel names them."""


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
    if layers and suits_onednn():
        for layer in layers:
            layer.__class__ = HostLinear


@cache
def suits_onednn(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor is one of those, and this torch has the operation."""
    try:
        maker = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("vendor_id")), "")
        _by_onednn(torch.ones(1, 2), torch.ones(3, 2), None)
    except (OSError, AttributeError, RuntimeError):
        return False
    return maker.partition(":")[2].strip() in _MAKERS


def _by_onednn(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    operation: Any = torch.ops.mkldnn._linear_pointwise  # the one that torch.compile uses on the CPU
    product: torch.Tensor = operation(rows, weight, bias, "none", [], "")
    return product
