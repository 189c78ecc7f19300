"""What a model will need on a device, estimated from its source alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from engine.core.forecast.footprints import Architecture, estimate
from engine.core.models import Limits, ModelSpec
from engine.weights.architecture import architecture_of, read_architecture
from engine.weights.errors import BadCheckpoint
from engine.weights.estimates import estimate_footprint, estimate_smaller
from engine.weights.header import is_linear_matrix
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


def test_in_int8_the_embeddings_keep_16_bits_and_every_row_of_a_matrix_has_a_scale(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", sources=("synthetic:bge-base",), task="embedding", dtype="int8")
    expected = 85_524_480 + 2 * 83_712 + 2 * 23_957_760
    assert estimate_footprint(spec, resolve(spec, tmp_path)).weights_bytes == expected


def test_int8_computes_in_float16_and_needs_room_for_its_widest_matrix() -> None:
    int8, float16 = (estimate(100, SMALL, LIMITS, "generation", dtype) for dtype in ("int8", "float16"))
    assert int8.workspace_bytes - float16.workspace_bytes == 2 * 8 * 16 * 2


def test_nf4_needs_half_a_byte_a_weight_and_a_scale_for_64_of_them(tmp_path: Path) -> None:
    spec = ModelSpec(name="m", sources=("synthetic:bge-base",), task="embedding", dtype="nf4")
    expected = 85_524_480 // 2 + 4 * 85_524_480 // 64 + 2 * 23_957_760
    assert estimate_footprint(spec, resolve(spec, tmp_path)).weights_bytes == expected


def test_nf4_needs_room_for_what_it_unpacks_beside_its_widest_matrix() -> None:
    nf4, int8 = (estimate(100, SMALL, LIMITS, "generation", dtype) for dtype in ("nf4", "int8"))
    assert nf4.workspace_bytes - int8.workspace_bytes == 7 * 2 * 8 * 16


def test_what_a_model_would_need_is_told_for_each_dtype_that_makes_it_smaller() -> None:
    spec = ModelSpec(name="m", sources=("synthetic:phi-3-mini",), task="generation", dtype="float16")
    source = resolve(spec, Path("cache"))
    smaller = estimate_smaller(spec, source)
    assert smaller["int8"] == estimate_footprint(replace(spec, dtype="int8"), source)
    assert list(smaller) == ["int8", "nf4", "nf4-double"]
    sizes = [footprint.total_bytes for footprint in smaller.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert list(estimate_smaller(replace(spec, dtype="int8"), source)) == ["nf4", "nf4-double"]
    assert estimate_smaller(replace(spec, dtype="nf4-double"), source) == {}


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("encoder.layer.0.output.dense.weight", (8, 16), True),
        ("model.layers.0.mlp.gate_up_proj.weight", (32, 8), True),
        ("h.0.attn.c_attn.weight", (8, 24), True),
        ("encoder.layer.0.output.dense.bias", (8,), False),
        ("embeddings.word_embeddings.weight", (32, 8), False),
        ("model.embed_tokens.weight", (32, 8), False),
        ("lm_head.weight", (32, 8), False),
        ("transformer.wte.weight", (32, 8), False),
        ("encoder.relative_attention_bias.weight", (32, 4), False),
        ("encoder.block.0.layer.1.DenseReluDense.wo.weight", (8, 16), False),
    ],
)
def test_matrices_are_told_from_tables_and_heads_by_their_names(
    name: str, shape: tuple[int, ...], expected: bool
) -> None:
    assert is_linear_matrix(name, shape) is expected


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
