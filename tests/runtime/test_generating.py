"""A small decoder asked from a script, through an engine and its workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine import GPUManager
from engine.api import EngineError
from tests.worker.decoders import ask_for, write_decoder, written_by_transformers


def test_a_script_gets_what_transformers_writes_and_refusals_in_words(tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "llama")
    ask_for(folder, repetition_penalty=0.9)
    model = {"name": "writer", "source": f"path:{folder}", "task": "generation", "limits": {"max_sequence": 64}}
    config = tmp_path / "config"
    config.mkdir()
    (config / "model_gpu_mapping.json").write_text(json.dumps({"models": [model]}))
    (config / "gpu_allocation.yaml").write_text("devices: {virtual: [{memory: 64MiB}]}\n")
    greedy, _ = written_by_transformers(folder, "the cat", 12)
    torch.manual_seed(9)
    drawn, _ = written_by_transformers(folder, "the cat", 12, do_sample=True, temperature=1.5)
    with GPUManager(config) as manager:
        assert manager.generate("writer", "the cat", 12).text == greedy
        wrote = manager.generate("writer", "the cat", 12, temperature=1.5, seed=9)
        assert (wrote.text, wrote.seed, wrote.ended, wrote.prompt_tokens) == (drawn, 9, "length", 5)
        writing = manager.stream("writer", "the cat", 12)
        pieces = list(writing)
        assert len(pieces) >= 3
        assert "".join(pieces) == writing.result.text == greedy
        assert writing.result.tokens == 12
        with pytest.raises(EngineError, match=r"writer on \w+: the prompt has 60 tokens.*takes 64 in all"):
            manager.generate("writer", "x" * 60, 12)
        with pytest.raises(EngineError, match=r"writer.*top_p must be above 0"):
            manager.generate("writer", "x", top_p=2.0)
