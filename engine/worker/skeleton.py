"""A model without its weights: modules, tokenizer and plain attributes, built once from a prepared folder and kept for
the worker's life."""

from __future__ import annotations

from operator import is_
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from transformers import AutoConfig, GenerationConfig, PreTrainedModel

from engine.weights.errors import BadCheckpoint
from engine.weights.layout import Layout
from engine.weights.slab import open_prepared
from engine.worker.int8 import make_places
from engine.worker.window import TORCH_DTYPES


class Skeleton:
    """Modules whose tensors have no elements until they are bound."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.prepared: Final = open_prepared(folder)
        self.layout: Final[Layout] = self.prepared.layout
        self.layout_id: Final = self.prepared.layout_id
        self.module: Final[PreTrainedModel] = _build(folder, self.layout)
        self.tensors: Final = _empty_tensors(self.module, self.layout)
        """By path in the module tree; tied paths share one tensor."""
        self._as_built: Final = {module: dict(vars(module)) for module in self.module.modules()}

    def reset(self) -> None:
        """Put the modules' plain attributes back as they were built: a rotary embedding that grew with long input
        remembers so, and would disagree with freshly bound tables."""
        for module, built in self._as_built.items():
            now = vars(module)
            # Nearly always nothing has changed, and every load waits for this.
            if len(now) != len(built) or not all(map(is_, now.values(), built.values())):
                _restore(module, built)


def _build(folder: Path, layout: Layout) -> PreTrainedModel:
    model_class = getattr(transformers, layout.model_class, None)
    if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
        raise BadCheckpoint(f"{folder} needs the class {layout.model_class}, which this transformers does not have")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        module: PreTrainedModel = model_class(config)
    make_places(module, layout.int8_layers)
    if (folder / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    module.train(False)
    return module


def _empty_tensors(module: PreTrainedModel, layout: Layout) -> dict[str, torch.Tensor]:
    """Replace the tensors on meta, which `.data` can't cross to or from, by empty ones on the CPU. Raises BadCheckpoint
    when the module and the layout do not have the same tensors."""
    dtypes = {entry.path: TORCH_DTYPES[entry.dtype] for entry in layout.entries}
    dtypes |= {alias.path: dtypes[alias.stored_as] for alias in layout.aliases}
    tensors: dict[str, torch.Tensor] = {}
    emptied: dict[torch.Tensor, torch.Tensor] = {}
    for prefix, owner in module.named_modules():
        if stray := _stray_tensors(owner):
            raise BadCheckpoint(f"{layout.model_class} keeps tensors outside its parameters and buffers: {stray[0]}")
        for name, tensor in _own_tensors(owner):
            path = f"{prefix}.{name}" if prefix else name
            if path not in dtypes:
                raise BadCheckpoint(f"the prepared model lacks {path}, which its class has; prepare it again")
            if tensor not in emptied:
                emptied[tensor] = _empty_like(tensor, dtypes[path])
            tensors[path] = emptied[tensor]
            setattr(owner, name, emptied[tensor])
    if surplus := dtypes.keys() - tensors.keys():
        raise BadCheckpoint(f"the prepared model has {min(surplus)}, which its class lacks; prepare it again")
    return tensors


def _empty_like(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    empty = torch.empty(0, dtype=dtype)
    return torch.nn.Parameter(empty, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else empty


def _own_tensors(owner: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    parameters = owner.named_parameters(recurse=False, remove_duplicate=False)
    return [*parameters, *owner.named_buffers(recurse=False, remove_duplicate=False)]


def _stray_tensors(module: torch.nn.Module) -> list[str]:
    """Tensors kept as plain attributes. A forward run may add some, as long rotary embeddings do; building adds none."""
    return [name for name, value in vars(module).items() if isinstance(value, torch.Tensor)]


def _restore(module: torch.nn.Module, built: dict[str, Any]) -> None:
    for name in _stray_tensors(module):
        delattr(module, name)
    for name, value in built.items():
        if not name.startswith("_") and isinstance(value, bool | int | float | str | None):
            setattr(module, name, value)
