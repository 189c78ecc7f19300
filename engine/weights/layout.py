"""What lies where in a prepared slab: the layout, how it is planned, and the file that holds it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Final, Literal

import msgspec
from msgspec import Struct

from engine.core.models import Dtype
from engine.core.serialization import to_json
from engine.weights.header import DTYPE_SIZES, MOST_DIMENSIONS

LAYOUT_VERSION: Final = 2
TENSOR_ALIGNMENT: Final = 256
DATA_ALIGNMENT: Final = 4096
BLOCK_BYTES: Final = 1 << 20
"""Of a slab, with a checksum of its own: what a processor's cache holds from being read to being summed."""
LAYOUT_FILE: Final = "layout.json"
SLAB_FILE: Final = "slab.safetensors"
PAD_PREFIX: Final = "__pad_"


class TensorFacts(Struct, frozen=True):
    """A tensor that is to have a place in a slab."""

    path: str
    """Its name in the module tree: `encoder.layer.0.output.dense.weight`."""
    kind: Literal["parameter", "buffer"]
    dtype: str
    """As safetensors writes it: F32, BF16, I64."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements, of a tensor without gaps or overlaps."""
    length: int
    """Bytes."""


class SlabEntry(TensorFacts, frozen=True):
    """A tensor and its place in the slab."""

    offset: int
    """From the start of the data section."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape with its dimensions in the order of memory, the only one that a safetensors file can say."""
        by_stride = sorted(range(len(self.shape)), key=lambda axis: -self.strides[axis])
        return tuple(self.shape[axis] for axis in by_stride)


class Alias(Struct, frozen=True):
    """A name in the module tree for a tensor that is stored under another."""

    path: str
    stored_as: str


class Layout(Struct, frozen=True):
    """All of a prepared slab but its bytes."""

    format_version: int
    model_class: str
    """Of transformers: `BertModel`."""
    source: str
    source_sha256: dict[str, str]
    """Of each file of the source that it was made of, by its name there."""
    entries: tuple[SlabEntry, ...]
    aliases: tuple[Alias, ...]
    data_offset: int
    """Where the data section begins in the slab file."""
    length: int
    """Bytes of the data section."""
    sha256: str
    """Of the data section."""
    block_sums: tuple[int, ...] = ()
    """Of its blocks (`weights.block_sums`), by which it is checked while it is read; none where an earlier version wrote it."""

    @property
    def weight_only_layers(self) -> dict[str, Dtype]:
        """Names in the module tree of the layers whose matrices are of fewer bits than the rest, with the dtype of each."""
        paths = {entry.path for entry in self.entries}
        layers: dict[str, Dtype] = {}
        for entry in self.entries:
            layer, _, name = entry.path.rpartition(".")
            if entry.kind == "parameter" and name == "weight" and entry.dtype in ("I8", "U8"):
                four_bits: Dtype = "nf4-double" if f"{layer}.scale_scale" in paths else "nf4"
                layers[layer] = "int8" if entry.dtype == "I8" else four_bits
        return layers


def place(tensors: Iterable[TensorFacts]) -> tuple[SlabEntry, ...]:
    """Each tensor behind the one before it, aligned."""
    entries: list[SlabEntry] = []
    offset = 0
    for tensor in tensors:
        entries.append(SlabEntry(**msgspec.structs.asdict(tensor), offset=offset))
        offset = aligned(offset + tensor.length, TENSOR_ALIGNMENT)
    return tuple(entries)


def data_length(entries: tuple[SlabEntry, ...]) -> int:
    """Bytes of the data section, its last alignment hole included."""
    return aligned(entries[-1].offset + entries[-1].length, TENSOR_ALIGNMENT) if entries else 0


def is_sound(layout: Layout) -> bool:
    """Whether its entries lie as they are placed, each of as many bytes as its shape needs, so that no view leads outside."""
    end = 0
    for entry in layout.entries:
        if entry.offset != aligned(end, TENSOR_ALIGNMENT) or not _is_dense(entry):
            return False
        end = entry.offset + entry.length
    paths = {entry.path for entry in layout.entries}
    has_sums = len(layout.block_sums) in (0, -(-layout.length // BLOCK_BYTES))
    is_whole = data_length(layout.entries) == layout.length
    return is_whole and has_sums and all(alias.stored_as in paths for alias in layout.aliases)


def _is_dense(tensor: TensorFacts) -> bool:
    """Whether its strides and its length are those of its shape, without gaps or overlaps."""
    if (
        len(tensor.shape) != len(tensor.strides)
        or len(tensor.shape) > MOST_DIMENSIONS
        or min(tensor.shape, default=0) < 0
    ):
        return False
    elements = prod(tensor.shape)
    if tensor.length != elements * DTYPE_SIZES.get(tensor.dtype, 0):
        return False
    step = 1
    for stride, size in sorted(zip(tensor.strides, tensor.shape, strict=True)):
        if size > 1 and elements and stride != step:
            return False
        step *= size
    return True


def header_bytes(entries: tuple[SlabEntry, ...]) -> bytes:
    """The slab file up to its data section: a safetensors header whose data begins on a page.

    The holes between aligned tensors are tensors of their own, since the format allows no gap; spaces end the header.
    """
    fields: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for number, entry in enumerate(entries):
        end = entry.offset + entry.length
        if entry.length:
            fields[entry.path] = _field(entry.dtype, entry.stored_shape, entry.offset, end)
        position = aligned(end, TENSOR_ALIGNMENT)
        if position > end:
            fields[f"{PAD_PREFIX}{number}"] = _field("U8", (position - end,), end, position)
    text = to_json(fields)
    text = text.ljust(aligned(len(text) + 8, DATA_ALIGNMENT) - 8)
    return len(text).to_bytes(8, "little") + text


def aligned(offset: int, alignment: int) -> int:
    """The first multiple of `alignment` that is not below `offset`."""
    return -(-offset // alignment) * alignment


def _field(dtype: str, shape: tuple[int, ...], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": (begin, end)}
