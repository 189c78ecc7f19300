"""Weight-only 4 bits: linear layers whose matrices are 16 levels of a normal distribution, with a scale for 64 weights,
made once when a model is prepared.

Levels, scales and the matrix that comes of them equal those of bitsandbytes bit for bit, as its CUDA and its torch kernels make
them (its library for CPUs finds scales of 8 bits by a coarser search, and mixes up blocks where rows are not whole ones). With
double quantisation the scales are of 8 bits themselves, with a scale for 256 of them. bitsandbytes' own tensors are wrappers that
take no notice of a new `.data`, so that a stale use would answer; these are plain parameters.
"""

from __future__ import annotations

from functools import cache
from math import ceil
from typing import Final, NamedTuple

import torch
from torch.nn.functional import linear, pad

from engine.core.models import NF4_AT_ONCE, NF4_BLOCK, NF4_SCALE_BLOCK

_NF4: Final = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""Sixteen levels that a normal distribution fills alike, one of them nought."""
_SMALLEST_SCALE: Final = 1e-38
_SCALE_DECADES: Final = 7


class Nf4Parts(NamedTuple):
    """A matrix in 4 bits."""

    weight: torch.Tensor
    """Bytes of two weights, the first one in the high half."""
    scale: torch.Tensor
    """One for 64 weights: in float32, or 8-bit levels."""
    scale_scale: torch.Tensor | None = None
    """One for 256 scales that are 8-bit levels."""
    scale_offset: torch.Tensor | None = None
    """What such scales are counted from."""


class Nf4Linear(torch.nn.Module):
    """A linear layer that makes a matrix of its input's dtype for each run."""

    bias: torch.nn.Parameter | None
    scale_scale: torch.nn.Parameter | None
    scale_offset: torch.nn.Parameter | None
    levels: torch.Tensor
    scale_levels: torch.Tensor | None

    def __init__(self, shape: tuple[int, int], parts: Nf4Parts, bias: torch.nn.Parameter | None) -> None:
        super().__init__()
        self.shape: Final = shape
        for name, part in parts._asdict().items():
            self.register_parameter(name, part if part is None else torch.nn.Parameter(part, requires_grad=False))
        self.register_parameter("bias", bias)
        device = parts.weight.device.type
        self.register_buffer("levels", _pairs(device))
        self.register_buffer("scale_levels", None if parts.scale_scale is None else _scale_levels(device))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return linear(rows, self.matrix(rows.dtype), self.bias)

    def matrix(self, dtype: torch.dtype) -> torch.Tensor:
        """The weights, as they are multiplied with: unpacked part by part, so that little is taken beside what comes of it."""
        packed = self.get_parameter("weight")
        matrix = torch.empty(2 * len(packed), dtype=dtype, device=packed.device)
        for begin in range(0, len(matrix), NF4_AT_ONCE):
            part = matrix[begin : begin + NF4_AT_ONCE]
            indices = packed[begin // 2 : (begin + len(part)) // 2].int()
            levels = self.levels.index_select(0, indices).view(torch.float32)
            first = begin // NF4_BLOCK
            _multiply(levels, self._scales(first, first + ceil(len(part) / NF4_BLOCK)), NF4_BLOCK, part)
        rows, columns = self.shape
        return matrix[: rows * columns].view(rows, columns)

    def _scales(self, first: int, end: int) -> torch.Tensor:
        scale = self.get_parameter("scale")[first:end]
        if self.scale_levels is None or self.scale_scale is None or self.scale_offset is None:
            return scale
        scales = self.scale_levels.index_select(0, scale.int())
        of_scales = self.scale_scale[first // NF4_SCALE_BLOCK : ceil(end / NF4_SCALE_BLOCK)]
        _multiply(scales, of_scales, NF4_SCALE_BLOCK, scales)
        return scales.add_(self.scale_offset)


def _multiply(values: torch.Tensor, scales: torch.Tensor, block: int, products: torch.Tensor) -> None:
    """Each block of values times its scale; the last block may be shorter."""
    whole = len(values) // block
    torch.mul(
        values[: whole * block].view(whole, block),
        scales[:whole, None],
        out=products[: whole * block].view(whole, block),
    )
    if whole * block < len(values):
        torch.mul(values[whole * block :], scales[whole], out=products[whole * block :])


def in_nf4(matrix: torch.Tensor, double: bool) -> Nf4Parts:
    """The matrix in 4 bits; `double`: its scales in 8. On meta only the sizes count."""
    blocks = ceil(matrix.numel() / NF4_BLOCK)
    if matrix.is_meta:
        sizes = [ceil(matrix.numel() / 2), blocks, ceil(blocks / NF4_SCALE_BLOCK), 1]
        dtypes = [torch.uint8, torch.uint8 if double else torch.float32, torch.float32, torch.float32]
        parts = [torch.empty(size, dtype=kind, device="meta") for size, kind in zip(sizes, dtypes, strict=True)]
        return Nf4Parts(*parts[: 4 if double else 2])
    levels, scales = _nearest(matrix.flatten().float(), torch.tensor(_NF4), NF4_BLOCK)
    levels = pad(levels, (0, len(levels) % 2), value=_NF4.index(0.0))
    packed = levels[::2] << 4 | levels[1::2]
    if not double:
        return Nf4Parts(packed, scales)
    offset = scales.mean()
    scale_levels, scale_scales = _nearest(scales - offset, _scale_levels("cpu"), NF4_SCALE_BLOCK)
    return Nf4Parts(packed, scale_levels, scale_scales, offset.reshape(1))


def _nearest(values: torch.Tensor, levels: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the sorted levels is nearest to each value, once the largest of its block is 1; and what these were."""
    blocks = pad(values, (0, -len(values) % block)).view(-1, block)
    largest = blocks.abs().amax(1)
    scaled = (blocks * (1.0 / largest.clamp(min=_SMALLEST_SCALE))[:, None]).clamp(-1, 1)
    nearest = torch.bucketize(scaled.flatten()[: len(values)], (levels[:-1] + levels[1:]) / 2)
    return nearest.to(torch.uint8), largest


@cache
def _pairs(device: str) -> torch.Tensor:
    """By byte, the levels of its two halves, as one number of 8 bytes: on a CPU, looking single numbers up takes a third of the
    time of rows of two. One table for all layers, so that a slab has it once."""
    levels = torch.tensor(_NF4, device="cpu")
    return torch.cartesian_prod(levels, levels).view(torch.int64).flatten().to(device)


@cache
def _scale_levels(device: str) -> torch.Tensor:
    """The 8-bit levels of bitsandbytes: a sign, then as many noughts as the decimal exponent, the rest in even steps."""
    levels = [0.0, 1.0]
    for decade in range(_SCALE_DECADES):
        steps = torch.linspace(0.1, 1, 2**decade + 1, dtype=torch.float32, device="cpu")
        means = (steps[:-1] + steps[1:]) / 2
        each = 10.0 ** (decade + 1 - _SCALE_DECADES) * means
        levels += [*each.tolist(), *(-each).tolist()]
    return torch.tensor(sorted(levels), device=device)
