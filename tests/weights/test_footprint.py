from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.core.footprint import Architecture, estimate
from engine.core.models import Limits, ModelSpec
from engine.weights.architecture import architecture_of, read_architecture
from engine.weights.errors import BadCheckpoint
from engine.weights.footprints import estimate_footprint
from engine.weights.sources import resolve
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint

SMALL = Architecture(hidden=8, intermediate=16, layers=2, kv_heads=2, head_dim=4, vocab=32)
LIMITS = Limits(max_batch=2, max_sequence=10)


def test_an_embedding_models_workspace_is_its_widest_layer() -> None:
    footprint = estimate(100, SMALL, LIMITS, "embedding", "float32")
    assert footprint.weights_bytes == 100
    assert footprint.workspace_bytes == 1.25 * 20 * (16 + 6 * 8) * 4
    assert footprint.label == "estimated"


def test_generation_adds_the_kv_cache_and_the_logits() -> None:
    embedding = estimate(100, SMALL, LIMITS, "embedding", "float16")
    generation = estimate(100, SMALL, LIMITS, "generation", "float16")
    assert generation.workspace_bytes - embedding.workspace_bytes == 2 * 2 * 2 * 4 * 20 * 2 + 32 * 4 * 2


def test_a_given_checkpoint_is_estimated_from_its_header(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", sources=(f"path:{write_checkpoint(tmp_path)}",), task="embedding", dtype="float16")
    assert estimate_footprint(spec, resolve(spec, tmp_path)).weights_bytes == 64 + 32


def test_a_synthetic_checkpoint_is_estimated_before_it_is_made(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", sources=("synthetic:bge-base",), task="embedding")
    assert estimate_footprint(spec, resolve(spec, tmp_path)).weights_bytes == 109_482_240 * 4


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BERT_CONFIG, SMALL),
        (
            {"n_embd": 8, "n_inner": None, "n_layer": 2, "n_head": 2, "vocab_size": 32},
            Architecture(hidden=8, intermediate=32, layers=2, kv_heads=2, head_dim=4, vocab=32),
        ),
        (
            {"d_model": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2, "d_kv": 64, "vocab_size": 32},
            Architecture(hidden=8, intermediate=16, layers=2, kv_heads=2, head_dim=64, vocab=32),
        ),
        ({**BERT_CONFIG, "num_key_value_heads": 1}, msgspec.structs.replace(SMALL, kv_heads=1)),
    ],
)
def test_families_that_name_their_sizes_differently_are_understood(
    config: dict[str, object], expected: Architecture
) -> None:
    assert architecture_of(config) == expected


def test_a_config_that_is_no_transformers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    with pytest.raises(BadCheckpoint, match="does not say its hidden_size"):
        read_architecture(tmp_path)
