"""Bytes on which tensors are made, and which know whether any of them is still held by somebody."""

from __future__ import annotations

import mmap
import weakref
from typing import Final

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from engine.weights.layout import SlabEntry

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


class Views:
    """Makes typed views of one flat tensor of bytes. No view outlives its use unnoticed."""

    def __init__(self, base: torch.Tensor) -> None:
        self._typed: Final[dict[torch.dtype, torch.Tensor]] = {torch.uint8: base}

    @property
    def bytes(self) -> torch.Tensor:
        """All of it. Raises KeyError after `close`."""
        return self._typed[torch.uint8]

    def tensor(self, entry: SlabEntry) -> torch.Tensor:
        """A view of the entry's bytes."""
        dtype = TORCH_DTYPES[entry.dtype]
        if entry.length == 0:
            return torch.empty(entry.shape, dtype=dtype, device=self.bytes.device)
        base = self._typed.get(dtype)
        if base is None:
            base = self._typed[dtype] = self.bytes.view(dtype)
        return base.as_strided(entry.shape, entry.strides, entry.offset // dtype.itemsize)

    def close(self) -> None:
        """Let go of our own tensors; `is_held` then tells whether anybody else has one."""
        self._typed.clear()


class Window(Views):
    """A part of a mapping. Torch holds its buffer for as long as any tensor lies on it."""

    def __init__(self, mapping: mmap.mmap, offset: int, length: int) -> None:
        self.length: Final = length
        buffer = memoryview(mapping)[offset : offset + length]
        self._buffer_alive: Final = weakref.ref(buffer)
        super().__init__(torch.frombuffer(buffer, dtype=torch.uint8))

    @property
    def address(self) -> int:
        """Where it begins in this process."""
        return self.bytes.data_ptr()

    @property
    def is_held(self) -> bool:
        """Whether any tensor lies on the window, our own included until `close`."""
        return self._buffer_alive() is not None


class WindowBlock(Views):
    """Memory of torch's own, on any device. It is given back to torch when the last tensor on it goes."""

    def __init__(self, memory: torch.Tensor) -> None:
        self.length: Final = memory.numel()
        self._storage: Final = StorageWeakRef(memory.untyped_storage())  # type: ignore[no-untyped-call]
        super().__init__(memory)

    @property
    def is_held(self) -> bool:
        """Whether any tensor lies on the memory, our own included until `close`."""
        return not self._storage.expired()  # type: ignore[no-untyped-call]
