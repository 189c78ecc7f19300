"""What every worker needs in memory before it is forked: torch, transformers, the model classes, one warm run a dtype."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import torch
import transformers

import engine.worker.main  # noqa: F401 - so that a worker imports nothing after its fork

MODEL_MODULES: Final = tuple(
    f"transformers.models.{family}.modeling_{family}"
    for family in (
        "bert",
        "distilbert",
        "gpt2",
        "llama",
        "mpnet",
        "phi3",
        "qwen2",
        "roberta",
        "t5",
        "xlm_roberta",
    )
)
"""Families that the tests hold to equal `from_pretrained`; others work too, and import at their first load."""


def preload() -> None:
    """Import and warm everything, on one thread: a pool of threads would not survive the fork."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for module in MODEL_MODULES:
        import_module(module)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        _run_a_layer(dtype)


@torch.inference_mode()
def _run_a_layer(dtype: torch.dtype) -> None:
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    module = transformers.BertModel(config)
    torch.nn.Module.to(module, dtype).train(False)
    module(input_ids=torch.zeros((1, 2), dtype=torch.long))
