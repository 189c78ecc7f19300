"""Ways to read a checkpoint's tensors into host memory, for those that are installed. They last as long as the block does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from safetensors.torch import load_file

Reader: TypeAlias = Callable[[Sequence[Path]], AbstractContextManager[dict[str, torch.Tensor]]]


@contextmanager
def with_safetensors(files: Sequence[Path]) -> Iterator[dict[str, torch.Tensor]]:
    """`safetensors.torch.load_file`: views of the mapped file."""
    yield {name: tensor for path in files for name, tensor in load_file(path).items()}


@contextmanager
def with_fastsafetensors(files: Sequence[Path]) -> Iterator[dict[str, torch.Tensor]]:
    """Its reader for a CPU, several threads into one buffer."""
    library: Any = import_module("fastsafetensors")
    loader = library.SafeTensorsFileLoader(library.SingleGroup(), device="cpu", nogds=True)
    loader.add_filenames({0: [str(path) for path in files]})
    buffer = loader.copy_files_to_device()
    try:
        yield {name: buffer.get_tensor(name) for name in buffer.key_to_rank_lidx}
    finally:
        buffer.close()
        loader.close()


@contextmanager
def with_runai(files: Sequence[Path]) -> Iterator[dict[str, torch.Tensor]]:
    """Its streamer, as many threads as it takes by itself."""
    library: Any = import_module("runai_model_streamer")
    with library.SafetensorsStreamer() as streamer:
        streamer.stream_files([str(path) for path in files])
        yield dict(streamer.get_tensors())


OPTIONAL: Final[dict[str, tuple[str, Reader]]] = {
    "fastsafetensors, assign, to(device)": ("fastsafetensors", with_fastsafetensors),
    "runai-model-streamer, assign, to(device)": ("runai_model_streamer", with_runai),
}
"""By name of the way: the package, and its reader."""


def why_not(package: str) -> str:
    """Why a package can't be measured; empty when it can."""
    return "" if find_spec(package) else f"{package.replace('_', '-')} is not installed (the extra `bench` brings it)"
