"""A model without its weights: modules and their plain attributes, built once from a prepared folder and kept for the worker's
life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import is_
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
import transformers
from transformers import AutoConfig, GenerationConfig, PreTrainedConfig, PreTrainedModel

from engine.weights.checkpoint_json import CONFIG_FILE
from engine.weights.errors import BadCheckpoint
from engine.weights.layout import Layout, SlabEntry
from engine.weights.slab import open_prepared
from engine.weights.writing_settings import GENERATION_FILE
from engine.worker.errors import in_our_words, in_short
from engine.worker.weight_only import make_places
from engine.worker.window import TORCH_DTYPES


class Skeleton:
    """Modules whose tensors have no elements until they are bound."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.prepared: Final = open_prepared(folder)
        self.layout: Final[Layout] = self.prepared.layout
        self.layout_id: Final = self.prepared.layout_id
        with in_our_words(f"{folder} can't be built as {self.layout.model_class}", "prepare it again"):
            self.module: Final[PreTrainedModel] = _build(folder, self.layout)
        self.places: Final = _empty_tensors(self.module, self.layout)
        """Each tensor once, with where its bytes lie in the slab."""
        self.stage: Literal["as built", "bound", "left"] = "as built"
        self._as_built: Final = _all_as_built(self.module)

    def reset(self) -> None:
        """Put modules that have been left back as they were built, so that every parameter and buffer is the one that is
        bound next, and every plain attribute the one it began with: a rotary embedding that grew with long input has
        another table, and remembers so."""
        if self.stage != "left":
            return
        for built in self._as_built:
            built.put_back()
        self.stage = "as built"


class AsBuilt:
    """What one module, or a configuration that modules read, was made of."""

    def __init__(self, owner: torch.nn.Module | PreTrainedConfig) -> None:
        self._owner: Final = owner
        self._attributes: Final = dict(vars(owner))
        held = [value for name, value in self._attributes.items() if not name.endswith("hooks")]
        self._contents: Final = tuple((container, container.copy()) for container in _containers(held))
        """Containers, a module's parameters and buffers among them, with what was in each."""

    def put_back(self) -> None:
        """Make the owner what it was."""
        for held, content in ((vars(self._owner), self._attributes), *self._contents):
            # Nearly always nothing has changed; and nine of ten containers of a module are empty, which costs no call to see.
            if (held or content) and not _are_same(held, content):
                _refill(held, content)

    def put_back_before_runs_of(self, module: torch.nn.Module) -> None:
        """Where a run replaced the module's buffers, the next one must not see them: its answer would depend on how long the
        texts before it were."""
        built = dict(module._buffers)

        def put_tables_back(*_call: object) -> None:
            if not _are_same(module._buffers, built):
                self.put_back()

        module.register_forward_pre_hook(put_tables_back)


def _all_as_built(module: PreTrainedModel) -> tuple[AsBuilt, ...]:
    configs: dict[int, PreTrainedConfig] = {}
    built: list[AsBuilt] = []
    for part in module.modules():
        configs |= {id(value): value for value in vars(part).values() if isinstance(value, PreTrainedConfig)}
        built.append(AsBuilt(part))
        if part._buffers:
            built[-1].put_back_before_runs_of(part)
    return (*built, *map(AsBuilt, configs.values()))


def _containers(values: Iterable[Any]) -> Iterator[Any]:
    """The lists, sets and dicts among the values, and those within them."""
    for value in values:
        if isinstance(value, dict | list | set):
            yield value
            yield from _containers(_values(value))


def _are_same(now: Any, then: Any) -> bool:  # noqa: ANN401 - containers of whatever modules keep
    """Whether two containers of one type hold the very same objects."""
    if isinstance(now, set):
        return bool(now == then)
    if isinstance(now, dict):
        return now.keys() == then.keys() and all(map(is_, now.values(), then.values()))
    return len(now) == len(then) and all(map(is_, now, then))


def _refill(now: Any, then: Any) -> None:  # noqa: ANN401 - as above
    now.clear()
    if isinstance(now, list):
        now.extend(then)
    else:
        now.update(then)


def _build(folder: Path, layout: Layout) -> PreTrainedModel:
    model_class = getattr(transformers, layout.model_class, None)
    if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
        raise BadCheckpoint(f"{folder} needs the class {layout.model_class}, which this transformers does not have")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if (text_config := config.get_text_config()) is not config and model_class.config_class is type(text_config):
        config = text_config  # the class is that of the text part of a model that takes pictures, too
    with torch.device("meta"):
        module: PreTrainedModel = model_class(config)
    make_places(module, layout.weight_only_layers)
    if module.can_generate():
        module.generation_config = generation_settings(folder)
    module.train(False)
    return module


def generation_settings(folder: Path) -> GenerationConfig:
    """What the checkpoint asks for when it writes, from where `from_pretrained` takes it. Raises BadCheckpoint."""
    has_file = (folder / GENERATION_FILE).is_file()
    name = GENERATION_FILE if has_file else CONFIG_FILE
    try:
        return GenerationConfig.from_pretrained(
            folder, config_file_name=name, local_files_only=True, _from_model_config=not has_file
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{folder / name} can't be read: {in_short(error)}") from error


class _Found(NamedTuple):
    """A tensor under one of its names in the module tree."""

    path: str
    owner: torch.nn.Module
    name: str
    tensor: torch.Tensor


def _empty_tensors(module: PreTrainedModel, layout: Layout) -> tuple[tuple[torch.Tensor, SlabEntry], ...]:
    """Replace the tensors on meta, which `.data` can't cross to or from, by empty ones on the CPU. These, each once, with its
    entry. Two names share a tensor exactly if they share an entry: the layout is of the checkpoint, while the class ties what
    its configuration says, and a head of the checkpoint's own would be lost. Raises BadCheckpoint when the module and the
    layout do not have the same tensors."""
    entries = {entry.path: entry for entry in layout.entries}
    entries |= {alias.path: entries[alias.stored_as] for alias in layout.aliases}
    empties: dict[str, tuple[torch.Tensor, SlabEntry]] = {}
    placed: dict[tuple[torch.nn.Module, str], _Found] = {}
    everything = list(_find_tensors(module, layout.model_class))
    for found in everything:
        entry = _entry(entries, found)
        first = placed.setdefault((found.owner, found.name), found)
        if entries[first.path] is not entry:
            raise BadCheckpoint(
                f"{first.path} and {found.path} are one layer of {layout.model_class}, and two in the checkpoint: remove from"
                " it the one that is not meant"
            )
        if entry.path not in empties:
            empties[entry.path] = _empty_like(found.tensor, TORCH_DTYPES[entry.dtype]), entry
        setattr(found.owner, found.name, empties[entry.path][0])
    if surplus := entries.keys() - {found.path for found in everything}:
        raise BadCheckpoint(f"the prepared model has {min(surplus)}, which its class lacks; prepare it again")
    return tuple(empties.values())


def _entry(entries: dict[str, SlabEntry], found: _Found) -> SlabEntry:
    entry = entries.get(found.path)
    if entry is None:
        raise BadCheckpoint(f"the prepared model lacks {found.path}, which its class has; prepare it again")
    if tuple(found.tensor.shape) != entry.shape:
        raise BadCheckpoint(f"{found.path} has another shape in the prepared model than in its class; prepare it again")
    return entry


def _find_tensors(module: PreTrainedModel, model_class: str) -> Iterator[_Found]:
    """Every parameter and buffer under each of its names, those of modules with several names too."""
    for prefix, owner in module.named_modules(remove_duplicate=False):
        if stray := _stray_tensors(owner):
            raise BadCheckpoint(f"{model_class} keeps tensors outside its parameters and buffers: {stray[0]}")
        parameters = owner.named_parameters(recurse=False, remove_duplicate=False)
        buffers = owner.named_buffers(recurse=False, remove_duplicate=False)
        for name, tensor in (*parameters, *buffers):
            yield _Found(f"{prefix}.{name}" if prefix else name, owner, name, tensor)


def _empty_like(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    empty = torch.empty(0, dtype=dtype)
    return torch.nn.Parameter(empty, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else empty


def _stray_tensors(module: torch.nn.Module) -> list[str]:
    """Names of plain attributes that are tensors, or hold some. A forward run may add such; building adds none."""
    own = (module._parameters, module._buffers, module._modules)
    attributes = [(name, value) for name, value in vars(module).items() if not any(value is table for table in own)]
    return [
        name
        for name, value in attributes
        if isinstance(value, torch.Tensor)
        or any(isinstance(held, torch.Tensor) for box in _containers([value]) for held in _values(box))
    ]


def _values(container: Any) -> Iterable[Any]:  # noqa: ANN401 - a container of whatever a module keeps
    return container.values() if isinstance(container, dict) else container
