"""Tiny checkpoints written by hand, for tests that need files and no torch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

BERT_CONFIG = {
    "model_type": "bert",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 32,
}


def write_checkpoint(folder: Path, name: str = "model.safetensors") -> Path:
    """A checkpoint of 32 float32 and 4 int64 elements."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.encode(BERT_CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    save_file({"weight": np.ones((4, 8), np.float32), "ids": np.arange(4, dtype=np.int64)}, folder / name)
    return folder
