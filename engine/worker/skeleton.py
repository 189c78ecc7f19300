"""A model without its weights: modules and their plain attributes, built once from a prepared folder and kept for the worker's
life."""

from __future__ import annotations

from operator import is_
from pathlib import Path
from typing import Any, Final, Literal

import torch
import transformers
from transformers import AutoConfig, GenerationConfig, PreTrainedModel

from engine.weights.errors import BadCheckpoint
from engine.weights.layout import Layout, SlabEntry
from engine.weights.slab import open_prepared
from engine.worker.weight_only import make_places
from engine.worker.window import TORCH_DTYPES


class Skeleton:
    """Modules whose tensors have no elements until they are bound."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.prepared: Final = open_prepared(folder)
        self.layout: Final[Layout] = self.prepared.layout
        self.layout_id: Final = self.prepared.layout_id
        self.module: Final[PreTrainedModel] = _build(folder, self.layout)
        self.places: Final = _empty_tensors(self.module, self.layout)
        """Each tensor once, with where its bytes lie in the slab."""
        self.stage: Literal["as built", "bound", "left"] = "as built"
        self._as_built: Final = {module: dict(vars(module)) for module in self.module.modules()}

    def reset(self) -> None:
        """Put the plain attributes of modules that have been left back as they were built: a rotary embedding that grew with
        long input remembers so, and would disagree with freshly bound tables."""
        if self.stage != "left":
            return
        for module, built in self._as_built.items():
            now = vars(module)
            # Nearly always nothing has changed.
            if len(now) != len(built) or not all(map(is_, now.values(), built.values())):
                _restore(module, built)
        self.stage = "as built"


def _build(folder: Path, layout: Layout) -> PreTrainedModel:
    model_class = getattr(transformers, layout.model_class, None)
    if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
        raise BadCheckpoint(f"{folder} needs the class {layout.model_class}, which this transformers does not have")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        module: PreTrainedModel = model_class(config)
    make_places(module, layout.weight_only_layers)
    if (folder / "generation_config.json").is_file():
        module.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    module.train(False)
    return module


def _empty_tensors(module: PreTrainedModel, layout: Layout) -> tuple[tuple[torch.Tensor, SlabEntry], ...]:
    """Replace the tensors on meta, which `.data` can't cross to or from, by empty ones on the CPU. These, each once, with its
    entry; tied paths share one. Raises BadCheckpoint when the module and the layout do not have the same tensors."""
    entries = {entry.path: entry for entry in layout.entries}
    entries |= {alias.path: entries[alias.stored_as] for alias in layout.aliases}
    found: set[str] = set()
    emptied: dict[torch.Tensor, tuple[torch.Tensor, SlabEntry]] = {}
    for prefix, owner in module.named_modules():
        if stray := _stray_tensors(owner):
            raise BadCheckpoint(f"{layout.model_class} keeps tensors outside its parameters and buffers: {stray[0]}")
        for name, tensor in _own_tensors(owner):
            path = f"{prefix}.{name}" if prefix else name
            if path not in entries:
                raise BadCheckpoint(f"the prepared model lacks {path}, which its class has; prepare it again")
            entry = entries[path]
            if tuple(tensor.shape) != entry.shape:
                raise BadCheckpoint(
                    f"{path} has another shape in the prepared model than in its class; prepare it again"
                )
            found.add(path)
            if tensor not in emptied:
                emptied[tensor] = _empty_like(tensor, TORCH_DTYPES[entry.dtype]), entry
            setattr(owner, name, emptied[tensor][0])
    if surplus := entries.keys() - found:
        raise BadCheckpoint(f"the prepared model has {min(surplus)}, which its class lacks; prepare it again")
    return tuple(emptied.values())


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
