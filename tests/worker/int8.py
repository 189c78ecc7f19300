"""Small random models in int8, and the float16 models that they are to equal."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.core.tasks import TaskKind
from engine.weights.slab import Prepared
from engine.worker.convert import load_module, prepare
from engine.worker.int8 import quantised
from engine.worker.protocol import Prepare
from tests.worker.models import GENERATION, write_random_checkpoint


def prepare_in_int8(family: str, folder: Path) -> Prepared:
    checkpoint = folder / "checkpoint"
    task = write_random_checkpoint(family, checkpoint)
    request = Prepare(1, "m", f"path:{checkpoint}", str(checkpoint), str(folder / "m"), task, "int8", None)
    return prepare(request, lambda _: None)


def float16_model(family: str, folder: Path) -> PreTrainedModel:
    task: TaskKind = "generation" if family in GENERATION else "embedding"
    return load_module(folder / "checkpoint", task, torch.float16)


def rounded_by_torch(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix rounded to the same levels by torch's own quantiser, a row at a time."""
    scale = quantised(matrix)[1].flatten().float()
    nothing = torch.zeros(len(scale), dtype=torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(matrix.float(), scale, nothing, 0, -128, 127)
    return rounded.to(matrix.dtype)


def round_matrices(module: PreTrainedModel, prepared: Prepared) -> None:
    """What the prepared model has in int8 is rounded in the float16 model."""
    for path in prepared.layout.weight_only_layers:
        layer = module.get_submodule(path)
        assert isinstance(layer, torch.nn.Linear | Conv1D)
        matrix = layer.weight.detach()
        if isinstance(layer, Conv1D):  # GPT-2 stores its matrices the other way round
            matrix = matrix.t()
        linear = torch.nn.Linear(matrix.shape[1], matrix.shape[0])
        # in the order of rows that the int8 layer computes with: a card's products differ in the last bit between the two
        linear.weight = torch.nn.Parameter(rounded_by_torch(matrix).contiguous())
        linear.bias = layer.bias
        module.set_submodule(path, linear)
