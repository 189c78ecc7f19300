"""What a folder without usable weights has in their place, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

UNQUANTISED: Final = (
    'use the unquantised checkpoint, with "dtype": "int8" or "nf4" in the catalog where it is to be small'
)
_AS_SAFETENSORS: Final = (
    "convert them to safetensors: load them with transformers on a machine where you trust them, and `save_pretrained` them, or"
    " choose a revision that has model.safetensors"
)
_SHARD: Final = re.compile(r".+-\d{5}-of-\d{5}\.safetensors")
_OTHERS: Final = (
    ("*.gguf", f"in GGUF, which is quantised: {UNQUANTISED}"),
    ("*.onnx", f"as ONNX: {_AS_SAFETENSORS}"),
    ("*.bin", f"only as .bin (pickle) files, which may run code when read; {_AS_SAFETENSORS}"),
    ("*.pt", f"only as .pt (pickle) files, which may run code when read; {_AS_SAFETENSORS}"),
    ("*.pth", f"only as .pth (pickle) files, which may run code when read; {_AS_SAFETENSORS}"),
    ("*.h5", f"for TensorFlow: {_AS_SAFETENSORS}"),
    ("*.ckpt*", f"as a training framework's checkpoint: {_AS_SAFETENSORS}"),
    ("*.msgpack", f"for Flax: {_AS_SAFETENSORS}"),
)
_NO_WEIGHTS: Final = ("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*", "scaler.*")
"""Left by trainers."""


def instead_of_weights(folder: Path) -> str:
    """Why the folder's weights can't be used, as the end of a sentence about the folder, with the way out."""
    return instead_of_weights_among([path.relative_to(folder) for path in _files(folder)])


def instead_of_weights_among(files: Sequence[Path]) -> str:
    """The same of a folder that has these files, or is to have them."""
    tensors = sorted(path for path in files if path.suffix == ".safetensors")
    if shards := [path for path in tensors if _SHARD.fullmatch(path.name)]:
        return (
            f"has {shards[0]} and no model.safetensors.index.json that says what is in which part; fetch that file, too"
        )
    if variant := next((path for path in tensors if fnmatch(path.name, "model.*.safetensors")), None):
        return f"has its weights only as the variant {variant}; rename that to model.safetensors"
    if tensors:
        advice = (
            "name that folder" if tensors[0].parent != Path() else "rename it to model.safetensors if it is the model"
        )
        return f"has no model.safetensors; there is {tensors[0]}: {advice}"
    for pattern, words in _OTHERS:
        if found := [path for path in files if fnmatch(path.name, pattern)]:
            return f"has its weights {words} ({found[0]})"
    return "has no model.safetensors and no model.safetensors.index.json; fetch it again, with its weights"


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("*", "*/*"):
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and not any(fnmatch(path.name, trainers) for trainers in _NO_WEIGHTS):
                yield path
