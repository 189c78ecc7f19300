"""Reading what a checkpoint says of itself without reading its weights: safetensors headers and their index.

Which weights int8 makes smaller is told by their names and shapes, since nothing here builds modules. The conversion itself goes
by the modules (`engine.worker.int8`); a family of unknown names is estimated a little wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from math import prod
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from engine.core.models import DTYPE_BYTES, WEIGHT_ONLY, Dtype, matrix_bytes
from engine.core.serialization import Undecodable, from_json
from engine.core.texts import in_brief, quoted
from engine.weights.checkpoint_json import MOST_JSON_BYTES, lies_within
from engine.weights.errors import BadCheckpoint
from engine.weights.formats import instead_of_weights
from engine.whole_file import only_files, read_whole

_KEPT: Final = re.compile(r"embed|(^|\.)(wte|wpe|shared|lm_head|relative_attention_bias|DenseReluDense\.wo)\.")
"""Tables that rows are looked up in, output heads, and T5's `wo`, which transformers keeps in float32."""


def is_linear_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a floating weight of that name and shape is a linear layer's matrix."""
    return len(shape) == 2 and name.endswith(".weight") and not _KEPT.search(name)


LENGTH_PREFIX_BYTES: Final = 8
MAX_HEADER_BYTES: Final = 100 << 20
MOST_DIMENSIONS: Final = 64
"""Of a tensor, in torch."""
"""The official library's own bound."""

_LFS_POINTER: Final = b"version "
"""How the file begins that Git LFS leaves in the place of one it has not fetched."""

DTYPE_SIZES: Final[dict[str, int]] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
FLOATING: Final = frozenset({"F16", "BF16", "F32", "F64"})
WEIGHTS_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"


class StoredTensor(Struct, frozen=True):
    """A tensor of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """Begin and end, counted from the start of the data section."""

    @property
    def elements(self) -> int:
        return prod(self.shape)


class Header(Struct, frozen=True):
    """The header of one safetensors file."""

    tensors: dict[str, StoredTensor]
    data_offset: int
    """Where the data section begins in the file."""


class _Index(Struct, frozen=True):
    weight_map: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of the safetensors file `path`, checked against the file's size. Raises BadCheckpoint."""
    try:
        file_bytes = path.stat().st_size
        with open(path, "rb", opener=only_files) as file:
            beginning = file.read(LENGTH_PREFIX_BYTES)
            if beginning == _LFS_POINTER:
                raise BadCheckpoint(f"{path} is a pointer of Git LFS, not the weights; `git lfs pull` fetches them")
            header_bytes = int.from_bytes(beginning, "little")
            if header_bytes > min(MAX_HEADER_BYTES, file_bytes - LENGTH_PREFIX_BYTES):
                raise BadCheckpoint(
                    f"{path} is not a safetensors file, or was cut short: its header does not fit in it"
                )
            raw = file.read(header_bytes)
    except OSError as error:
        raise BadCheckpoint(f"{path} can't be read: {error.strerror}") from error
    try:
        fields = from_json(raw, dict[str, msgspec.Raw])
        fields.pop("__metadata__", None)
        tensors = {name: from_json(value, StoredTensor) for name, value in fields.items()}
    except Undecodable as error:
        raise BadCheckpoint(f"{path} has a safetensors header that can't be read: {error}") from error
    data_offset = LENGTH_PREFIX_BYTES + header_bytes
    for name, tensor in tensors.items():
        _check_tensor(path, name, tensor, file_bytes - data_offset)
    return Header(tensors, data_offset)


def checkpoint_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint: one, or those that its index lists. Raises BadCheckpoint."""
    single = folder / WEIGHTS_FILE
    if single.is_file():
        return (single,)
    index = folder / INDEX_FILE
    if index.is_file():
        return _indexed_files(folder, index)
    raise BadCheckpoint(f"{folder} {instead_of_weights(folder)}")


def stored_dtype(folder: Path) -> Dtype:
    """The dtype of most of the checkpoint's floating-point figures, of those that a model can be loaded in. Raises
    BadCheckpoint."""
    elements: Counter[str] = Counter()
    for path in checkpoint_files(folder):
        for tensor in read_header(path).tensors.values():
            elements[tensor.dtype] += tensor.elements if tensor.dtype in FLOATING else 0
    most, _ = elements.most_common(1)[0] if elements else ("F32", 0)
    halves: dict[str, Dtype] = {"F16": "float16", "BF16": "bfloat16"}
    return halves.get(most, "float32")


def weights_bytes(folder: Path, dtype: Dtype) -> int:
    """Bytes of the checkpoint's weights once they have been converted to `dtype`; integers keep theirs."""
    headers = map(read_header, checkpoint_files(folder))
    return sum(_bytes_in(dtype, name, tensor) for header in headers for name, tensor in header.tensors.items())


def _bytes_in(dtype: Dtype, name: str, tensor: StoredTensor) -> int:
    if tensor.dtype not in FLOATING:
        return tensor.elements * DTYPE_SIZES[tensor.dtype]
    if dtype in WEIGHT_ONLY and is_linear_matrix(name, tensor.shape):
        rows, columns = tensor.shape
        return matrix_bytes(rows, columns, dtype)
    return tensor.elements * DTYPE_BYTES[dtype]


def _indexed_files(folder: Path, index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(from_json(read_whole(index, MOST_JSON_BYTES), _Index).weight_map.values()))
    except (OSError, Undecodable) as error:
        raise BadCheckpoint(f"{index} can't be read: {error}; fetch it again") from error
    if not names:
        raise BadCheckpoint(f"{index} lists no files; fetch it again")
    for name in names:
        if not lies_within(name):
            raise BadCheckpoint(
                f"{index} lists {quoted(name)}, which lies outside of {folder}; its files must lie beside it"
            )
        if Path(name).suffix != ".safetensors":
            raise BadCheckpoint(f"{index} lists {quoted(name)}, which is no safetensors file; convert it")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise BadCheckpoint(
            f"{folder} lacks {len(missing)} of the {len(names)} files that {INDEX_FILE} lists, such as {quoted(missing[0])};"
            " fetch it again"
        )
    return tuple(folder / name for name in names)


def _check_tensor(path: Path, name: str, tensor: StoredTensor, data_bytes: int) -> None:
    name = in_brief(name)
    if tensor.dtype not in DTYPE_SIZES:
        raise BadCheckpoint(f"{path}: tensor {name} has the dtype {in_brief(tensor.dtype)}, which is not supported")
    if (
        len(tensor.shape) > MOST_DIMENSIONS
    ):  # before they are multiplied: the product of a million of them takes a minute
        raise BadCheckpoint(
            f"{path}: tensor {name} has {len(tensor.shape)} dimensions; {MOST_DIMENSIONS} is the most that there may be"
        )
    begin, end = tensor.data_offsets
    if min(tensor.shape, default=0) < 0 or not 0 <= begin <= end <= data_bytes:
        raise BadCheckpoint(f"{path}: tensor {name} lies outside the file; was it cut short?")
    if end - begin != tensor.elements * DTYPE_SIZES[tensor.dtype]:
        raise BadCheckpoint(f"{path}: tensor {name} has {end - begin} bytes, which its shape does not need")
