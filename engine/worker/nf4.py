"""Weight-only 4 bits: linear layers whose matrices are 16 levels of a normal distribution, with a scale for 64 weights,
made once when a model is prepared.

Levels and scales equal those of bitsandbytes, bit for bit; with double quantisation the scales are 8-bit themselves, with a
scale for 256 of them. Its own tensors are wrappers that take no notice of a new `.data`, so that a stale use would answer;
these are plain parameters."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import torch
from torch.nn.functional import embedding, linear, pad

from engine.core.models import NF4_BLOCK, NF4_SCALE_BLOCK

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
_AT_ONCE: Final = 1 << 20
"""Bytes of a matrix that are unpacked at once: what else it takes stays small beside the matrix that comes of it."""


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
        """The weights, as they are multiplied with."""
        packed, scales = self.get_parameter("weight"), self._scales()
        matrix = torch.empty(2 * len(packed), dtype=dtype, device=packed.device)
        for begin in range(0, len(packed), _AT_ONCE):
            values = embedding(packed[begin : begin + _AT_ONCE].int(), self.levels).flatten()
            first = 2 * begin // NF4_BLOCK
            each = scales[first : first + -(-len(values) // NF4_BLOCK)].repeat_interleave(NF4_BLOCK)
            matrix[2 * begin : 2 * begin + len(values)] = values * each[: len(values)]
        rows, columns = self.shape
        return matrix[: rows * columns].view(rows, columns)

    def _scales(self) -> torch.Tensor:
        scale = self.get_parameter("scale")
        if self.scale_levels is None or self.scale_scale is None or self.scale_offset is None:
            return scale
        each = self.scale_scale.repeat_interleave(NF4_SCALE_BLOCK)[: len(scale)]
        return self.scale_levels[scale.int()] * each + self.scale_offset


def in_nf4(matrix: torch.Tensor, double: bool) -> Nf4Parts:
    """The matrix in 4 bits; `double`: its scales in 8. On meta only the sizes count."""
    blocks = -(-matrix.numel() // NF4_BLOCK)
    if matrix.is_meta:
        sizes = [-(-matrix.numel() // 2), blocks, -(-blocks // NF4_SCALE_BLOCK), 1]
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
    """By byte, the levels of its two halves. One table for all layers, so that a slab has it once."""
    levels = torch.tensor(_NF4)
    return torch.cartesian_prod(levels, levels).to(device)


@cache
def _scale_levels(device: str) -> torch.Tensor:
    """The 8-bit levels of bitsandbytes: a sign, then as many noughts as the decimal exponent, the rest in even steps."""
    levels = [0.0, 1.0]
    for decade in range(_SCALE_DECADES):
        steps = torch.linspace(0.1, 1, 2**decade + 1, dtype=torch.float32)
        means = (steps[:-1] + steps[1:]) / 2
        each = 10.0 ** (decade + 1 - _SCALE_DECADES) * means
        levels += [*each.tolist(), *(-each).tolist()]
    return torch.tensor(sorted(levels), device=device)
