"""Models whose matrices have fewer bits than the rest: which layers that concerns, and putting layers of our own in their
places, with weights when a model is prepared and without when its skeleton is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeGuard

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.core.models import Dtype
from engine.weights.errors import BadCheckpoint
from engine.worker.int8 import Int8Linear, quantised
from engine.worker.nf4 import Nf4Linear, in_nf4

_TRIED_TOKENS: Final = 4
COMPUTE_DTYPE: Final = torch.float16
"""Of everything but the matrices: embeddings, head, norms, biases and activations."""


def convert(module: PreTrainedModel, dtype: Dtype) -> None:
    """Put the matrices of a float16 model into a weight-only dtype: every linear layer's but the output head's and those that
    transformers keeps in float32. Raises BadCheckpoint when there are none."""
    head = module.get_output_embeddings()  # type: ignore[no-untyped-call]
    paths = [path for path, layer in module.named_modules() if layer is not head and _is_convertible(layer)]
    if not paths:
        raise BadCheckpoint(f"{type(module).__name__} has no linear layers that {dtype} makes smaller; choose float16")
    if not _runs_on_meta(module, paths, dtype) and _runs_on_meta(module, [], dtype):
        raise BadCheckpoint(
            f"{type(module).__name__} reads the matrices of its layers in ways of its own, which {dtype} does not serve; choose"
            " float16 or bfloat16"
        )
    for path in paths:  # one after the other: the float16 matrix of each goes before the next is made
        layer = module.get_submodule(path)
        assert _is_convertible(layer)
        module.set_submodule(path, _converted(layer, dtype))


@torch.no_grad()
def _runs_on_meta(module: PreTrainedModel, paths: list[str], dtype: Dtype) -> bool:
    """Whether a model of the class would run with these layers converted; no weights are needed to find out."""
    with torch.device("meta"):
        alike: PreTrainedModel = type(module)(module.config)
        torch.nn.Module.to(alike, COMPUTE_DTYPE)
        make_places(alike, dict.fromkeys(paths, dtype))
        try:
            alike.train(False)(input_ids=torch.zeros((1, _TRIED_TOKENS), dtype=torch.long))
        except Exception:  # whatever a class makes of layers that it did not expect
            return False
    return True


def make_places(module: PreTrainedModel, layers: Mapping[str, Dtype]) -> None:
    """In a module on meta, put such layers where a prepared model has them. Raises BadCheckpoint when the module lacks one."""
    for path, dtype in layers.items():
        try:
            layer = module.get_submodule(path)
        except AttributeError as error:
            raise BadCheckpoint(f"the prepared model has {path}, which its class lacks; prepare it again") from error
        if not isinstance(layer, torch.nn.Linear | Conv1D):
            raise BadCheckpoint(
                f"{path} was linear when the model was prepared, and is not in its class; prepare it again"
            )
        module.set_submodule(path, _converted(layer, dtype))


def _converted(layer: torch.nn.Linear | Conv1D, dtype: Dtype) -> torch.nn.Module:
    weight = layer.weight.detach()
    matrix = weight.t() if isinstance(layer, Conv1D) else weight
    if dtype == "int8":
        levels, scale = quantised(matrix)
        return Int8Linear(levels.contiguous(), scale, layer.bias)
    rows, columns = matrix.shape
    return Nf4Linear((rows, columns), in_nf4(matrix, double=dtype == "nf4-double"), layer.bias)


def _is_convertible(layer: torch.nn.Module) -> TypeGuard[torch.nn.Linear | Conv1D]:
    """Not a subclass of Linear: whoever makes one may use its matrix in other ways."""
    return (type(layer) is torch.nn.Linear or isinstance(layer, Conv1D)) and layer.weight.dtype == COMPUTE_DTYPE
