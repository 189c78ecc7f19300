"""A part of mapped memory on which tensors are made, and which knows whether any of them is still held by somebody."""

from __future__ import annotations

import mmap
import weakref
from typing import Final

import torch

from engine.weights.layout import Entry

TORCH_DTYPES: Final[dict[str, torch.dtype]] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
DTYPE_NAMES: Final = {dtype: name for name, dtype in TORCH_DTYPES.items()}


class Window:
    """Makes views of `length` bytes of a mapping. No view outlives its use unnoticed: torch holds the window's buffer
    for as long as any tensor lies on it."""

    def __init__(self, mapping: mmap.mmap, offset: int, length: int) -> None:
        buffer = memoryview(mapping)[offset : offset + length]
        self._buffer_alive: Final = weakref.ref(buffer)
        base = torch.frombuffer(buffer, dtype=torch.uint8)
        self._typed: Final[dict[torch.dtype, torch.Tensor]] = {torch.uint8: base}

    @property
    def is_held(self) -> bool:
        """Whether any tensor lies on the window, our own included until `close`."""
        return self._buffer_alive() is not None

    def tensor(self, entry: Entry) -> torch.Tensor:
        """A view of the entry's bytes."""
        dtype = TORCH_DTYPES[entry.dtype]
        if entry.length == 0:
            return torch.empty(entry.shape, dtype=dtype)
        base = self._typed.get(dtype)
        if base is None:
            base = self._typed[dtype] = self._typed[torch.uint8].view(dtype)
        return base.as_strided(entry.shape, entry.strides, entry.offset // dtype.itemsize)

    def fill_from(self, other: Window) -> None:
        """One copy of all bytes."""
        self._typed[torch.uint8].copy_(other._typed[torch.uint8])

    def close(self) -> None:
        """Let go of the window's own tensors; `is_held` then tells whether anybody else has one."""
        self._typed.clear()
