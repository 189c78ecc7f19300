"""The usual ways to have a model's weights on a device, each brought to the point where every byte is there.

The device is host RAM that has been touched, the same for all, as is the virtual GPU that Citadel copies to; `.to(device)`
is a copy of each tensor into it. Whatever Citadel makes once and keeps (modules without weights, touched memory) is kept
for the rivals too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from benchmarks.readers import Reader
from engine.core.models import Limits
from engine.core.tasks import Embed
from engine.weights.header import checkpoint_files
from engine.weights.sentence_files import read_sentence_format
from engine.worker.embedding import Embedder
from engine.worker.row_lane import forward_alone
from engine.worker.sentence_modules import ModulesBehind
from engine.worker.tokenizer import load_tokenizer

_ALIGNMENT_BYTES: Final = 256
_PIECE_BYTES: Final = 32 << 20


class Memory:
    """Two pieces of touched memory, of the host and of what plays the device, each with room for one model."""

    def __init__(self, size_bytes: int) -> None:
        self.host: Final = torch.ones(size_bytes, dtype=torch.uint8)
        self.device: Final = torch.zeros(size_bytes, dtype=torch.uint8)

    def take_in(self, module: PreTrainedModel) -> None:
        """Copy the module's tensors to the device and make it use them there."""
        tensors = _tensors(module)
        for tensor, there in zip(tensors, _places(tensors, self.device), strict=True):
            there.copy_(tensor.detach())
            tensor.data = there


def _tensors(module: PreTrainedModel) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _places(tensors: list[torch.Tensor], memory: torch.Tensor) -> list[torch.Tensor]:
    """Room for each tensor, one after the other, aligned as in Citadel's slabs."""
    places, offset = [], 0
    for tensor in tensors:
        length = tensor.numel() * tensor.element_size()
        places.append(memory[offset : offset + length].view(tensor.dtype).view(tensor.shape))
        offset += length + -length % _ALIGNMENT_BYTES
    return places


class BareCopy:
    """A copy of as many bytes as the weights have."""

    def __init__(self, memory: Memory) -> None:
        self._memory: Final = memory

    def run(self) -> float:
        started_s = time.perf_counter()
        self._memory.device.copy_(self._memory.host)
        return time.perf_counter() - started_s


class BareRead:
    """One read of the weights' files, which lie in the page cache, into memory that has been touched."""

    def __init__(self, checkpoint: Path) -> None:
        self._files: Final = checkpoint_files(checkpoint)
        self._target: Final = bytearray(max(path.stat().st_size for path in self._files))

    def run(self) -> float:
        started_s = time.perf_counter()
        for path in self._files:
            with path.open("rb", buffering=0) as file, memoryview(self._target) as memory:
                done, size_bytes = 0, os.fstat(file.fileno()).st_size
                while done < size_bytes:
                    done += os.preadv(file.fileno(), [memory[done : min(done + _PIECE_BYTES, size_bytes)]], done)
        return time.perf_counter() - started_s


class FromPretrained:
    """`AutoModel.from_pretrained(folder, **options).to(device)`."""

    def __init__(self, checkpoint: Path, memory: Memory, **options: object) -> None:
        self._checkpoint: Final = checkpoint
        self._memory: Final = memory
        self._options: Final = options
        self.module: PreTrainedModel = self._load()

    def run(self) -> float:
        started_s = time.perf_counter()
        self.module = self._load()
        return time.perf_counter() - started_s

    def _load(self) -> PreTrainedModel:
        module: PreTrainedModel = AutoModel.from_pretrained(self._checkpoint, local_files_only=True, **self._options)
        self._memory.take_in(module)
        return module


class FromPretrainedFresh:
    """The same into memory that nobody has touched before, as a plain process gets it: its pages are made meanwhile."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint: Final = checkpoint

    def run(self) -> float:
        started_s = time.perf_counter()
        module = AutoModel.from_pretrained(self._checkpoint, local_files_only=True)
        for tensor in _tensors(module):
            tensor.data = tensor.detach().clone()
        return time.perf_counter() - started_s


class Assign:
    """A reader's tensors, `load_state_dict(assign=True)` and `.to(device)`, on modules that were built beforehand and have
    the tensors already that no checkpoint stores."""

    def __init__(self, checkpoint: Path, memory: Memory, whole: PreTrainedModel, reader: Reader) -> None:
        self._files: Final = checkpoint_files(checkpoint)
        self._memory: Final = memory
        self._reader: Final = reader
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=True)
        with torch.device("meta"):
            self.module: Final[PreTrainedModel] = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        for path, buffer in whole.named_buffers():
            owner, _, name = path.rpartition(".")
            setattr(self.module.get_submodule(owner), name, buffer.clone())

    def run(self) -> float:
        started_s = time.perf_counter()
        with self._reader(self._files) as weights:
            self.module.load_state_dict(weights, strict=False, assign=True)
            self._memory.take_in(self.module)
        return time.perf_counter() - started_s


class OutAndIn:
    """`model.to("cpu")` and `.to(device)` again: each tensor copied out and back."""

    def __init__(self, whole: PreTrainedModel, memory: Memory) -> None:
        tensors = _tensors(whole)
        self._pairs: Final = list(zip(_places(tensors, memory.host), _places(tensors, memory.device), strict=True))

    def run(self) -> float:
        started_s = time.perf_counter()
        for here, there in self._pairs:
            here.copy_(there)
        for here, there in self._pairs:
            there.copy_(here)
        return time.perf_counter() - started_s


class Answering:
    """What a module makes of texts, pooled and normalised as Citadel does it; the tokenizer is kept, as Citadel keeps it."""

    def __init__(self, checkpoint: Path) -> None:
        self._tokenizer: Final = load_tokenizer(checkpoint)
        self._behind: Final = ModulesBehind(checkpoint, read_sentence_format(checkpoint))

    def answer(self, module: PreTrainedModel, texts: list[str]) -> list[list[float]]:
        module.train(False)
        runner = Embedder(module, self._tokenizer, self._behind, Limits())
        found: list[list[float]] = forward_alone(runner, runner.read(Embed(tuple(texts))).rows).tolist()
        return found
