"""Turning a checkpoint into a prepared folder: loaded once by transformers itself, then written tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from engine.core.models import WEIGHT_ONLY, Dtype
from engine.core.tasks import TaskKind
from engine.weights.checkpoint_json import CONFIG_FILE
from engine.weights.errors import BadCheckpoint
from engine.weights.header import WEIGHTS_FILE, checkpoint_files
from engine.weights.layout import Alias, SlabEntry, TensorFacts, place
from engine.weights.recipes import RECIPES
from engine.weights.slab import Prepared, SlabContents, open_prepared, write_prepared
from engine.weights.source_files import sha256_of
from engine.worker.errors import in_our_words
from engine.worker.protocol import Prepare
from engine.worker.runners import SUPPORT
from engine.worker.synthetic import make
from engine.worker.tokenizer import load_tokenizer
from engine.worker.weight_only import COMPUTE_DTYPE, convert
from engine.worker.window import DTYPE_NAMES

OTHER_VERSION: Final = f"fetch it again, or take a checkpoint that transformers {transformers.__version__} reads"
UNUSED_WEIGHTS: Final = ("pooler.",)
"""Embedding checkpoints often lack the pooler; nothing here runs it, while heads that judge texts stand on it."""


def prepare(request: Prepare, on_progress: Callable[[float], None]) -> Prepared:
    """The prepared folder that was asked for, built now unless it is there and whole. Raises WeightsError."""
    try:
        return open_prepared(Path(request.folder))
    except BadCheckpoint:
        return build(request, on_progress)


def build(request: Prepare, on_progress: Callable[[float], None]) -> Prepared:
    """The prepared folder that was asked for, made anew whatever is there. Raises WeightsError."""
    checkpoint = Path(request.checkpoint)
    form, _, kind = request.source.partition(":")
    if form == "synthetic" and not checkpoint.is_dir():
        make(RECIPES[kind], checkpoint)
    if request.sha256 is not None:
        verify_sha256(checkpoint / WEIGHTS_FILE, request.sha256)
    examine(checkpoint, request.task)
    module = load_in(checkpoint, request.task, request.dtype)
    return write_module(module, Path(request.folder), checkpoint, request.source, on_progress)


def examine(checkpoint: Path, task: TaskKind) -> None:
    """Read all but the weights, as the worker of a device will. Raises BadCheckpoint."""
    with in_our_words(f"{checkpoint / CONFIG_FILE} can't be understood", OTHER_VERSION):
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
        loader = SUPPORT[task].model_class(config)
        with torch.device("meta"):
            loader(config) if issubclass(loader, PreTrainedModel) else loader.from_config(config)
    SUPPORT[task].read_settings(checkpoint)
    load_tokenizer(checkpoint)


def verify_sha256(path: Path, expected: str) -> None:
    """Raises BadCheckpoint when the file is not the one that the catalog means."""
    found = sha256_of(path, lambda _: None)
    if found != expected:
        raise BadCheckpoint(
            f"{path} has the sha256 {found}, the catalog says {expected}; it is not the file that was"
            " meant and was not used. Fetch it again, or correct the catalog"
        )


def load_in(checkpoint: Path, task: TaskKind, dtype: Dtype) -> PreTrainedModel:
    """The checkpoint as it is to be prepared. Raises BadCheckpoint."""
    if dtype not in WEIGHT_ONLY:
        return load_module(checkpoint, task, getattr(torch, dtype))
    module = load_module(checkpoint, task, COMPUTE_DTYPE)
    convert(module, dtype)
    return module


def load_module(checkpoint: Path, task: TaskKind, dtype: torch.dtype) -> PreTrainedModel:
    """The checkpoint as `from_pretrained` gives it. Raises BadCheckpoint, also when weights are missing in it."""
    checkpoint_files(checkpoint)
    with in_our_words(f"{checkpoint} can't be loaded", OTHER_VERSION):
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
        module, report = (
            SUPPORT[task]
            .model_class(config)
            .from_pretrained(
                checkpoint,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are named below
            )
        )
    if unlike := sorted(report["mismatched_keys"]):
        name, stored, wanted = unlike[0]
        raise BadCheckpoint(
            f"{checkpoint}: {len(unlike)} of its weights have other shapes than {CONFIG_FILE} says, such as {name} with"
            f" {tuple(stored)} in place of {tuple(wanted)}; one of the two files belongs to another model"
        )
    unused = UNUSED_WEIGHTS if task == "embedding" else ()
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(unused))
    if missing:
        raise BadCheckpoint(
            f"{checkpoint} lacks {len(missing)} weights of {type(module).__name__}, such as {missing[0]};"
            f" its weights are not whole, or belong to another model than {CONFIG_FILE}"
        )
    loaded: PreTrainedModel = module.eval().requires_grad_(False)
    _check_numbers(loaded, checkpoint, dtype)
    return loaded


def _check_numbers(module: PreTrainedModel, checkpoint: Path, dtype: torch.dtype) -> None:
    """Raises BadCheckpoint where a weight is none: all answers would be."""
    for name, weight in module.named_parameters():
        if not weight.is_floating_point() or not weight.numel() or name.startswith(UNUSED_WEIGHTS):
            continue
        least, most = torch.aminmax(weight)  # both are NaN where one element is
        if not (least.isfinite() and most.isfinite()):
            what = "is not a number" if least.isnan() else f"is too large for {str(dtype).removeprefix('torch.')}"
            remedy = "fetch it again, or choose another checkpoint" if least.isnan() else "choose bfloat16 or float32"
            raise BadCheckpoint(
                f"{checkpoint}: {name} has an element that {what}, so that no answer could be one; {remedy}"
            )


def write_module(
    module: PreTrainedModel, folder: Path, checkpoint: Path, source: str, on_progress: Callable[[float], None]
) -> Prepared:
    """Write every parameter and buffer of the module, in module order: one under several names once, with its other names."""
    tensors: dict[str, torch.Tensor] = {}
    facts: list[TensorFacts] = []
    aliases: list[Alias] = []
    stored: dict[torch.Tensor, str] = {}
    for path, tensor in _named_tensors(module):
        if tensor in stored:
            aliases.append(Alias(path, stored_as=stored[tensor]))
            continue
        stored[tensor] = path
        tensors[path] = _without_gaps(tensor)
        facts.append(_facts(path, tensor, tensors[path]))
    contents = SlabContents(type(module).__name__, source, place(facts), tuple(aliases))
    return write_prepared(folder, checkpoint, contents, lambda entry: _bytes(entry, tensors[entry.path]), on_progress)


def _named_tensors(module: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    for prefix, owner in module.named_modules(remove_duplicate=False):
        parameters = owner.named_parameters(prefix, recurse=False, remove_duplicate=False)
        buffers = owner.named_buffers(prefix, recurse=False, remove_duplicate=False)
        yield from (*parameters, *buffers)


def _facts(path: str, original: torch.Tensor, tensor: torch.Tensor) -> TensorFacts:
    is_parameter = isinstance(original, torch.nn.Parameter)
    if type(original) not in (torch.Tensor, torch.nn.Parameter) or tensor.dtype not in DTYPE_NAMES:
        raise BadCheckpoint(f"{path} is a {type(original).__name__} of {tensor.dtype}, which can't lie in a slab")
    return TensorFacts(
        path=path,
        kind="parameter" if is_parameter else "buffer",
        dtype=DTYPE_NAMES[tensor.dtype],
        shape=tuple(tensor.shape),
        strides=tensor.stride(),
        length=tensor.numel() * tensor.element_size(),
    )


def _without_gaps(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself where its elements fill its memory in whatever order, else a contiguous copy."""
    plain = tensor.detach()
    return plain if plain.permute(_axes_by_stride(plain)).is_contiguous() else plain.contiguous()


def _bytes(entry: SlabEntry, tensor: torch.Tensor) -> memoryview:
    """The tensor's bytes in the order of memory."""
    flat = tensor.permute(_axes_by_stride(tensor)).reshape(-1).view(torch.uint8)
    array: Any = flat.numpy()
    return memoryview(array) if entry.length else memoryview(b"")


def _axes_by_stride(tensor: torch.Tensor) -> list[int]:
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
