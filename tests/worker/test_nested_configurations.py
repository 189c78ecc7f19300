"""Models of several kinds of input, whose sizes lie in a configuration of their text part, write text from text alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from engine.core.models import Dtype, ModelSpec
from engine.weights.architecture import read_architecture
from engine.weights.estimates import estimate_footprint
from engine.weights.sources import resolve
from engine.worker.memory import RamBacking
from engine.worker.residents import bind
from engine.worker.skeleton import Skeleton
from tests.worker.models import SMALL, VOCABULARY, Tier, filled, run, write_tokenizer
from tests.worker.test_ties import prepared_of

TEXT: Final = SMALL | {"num_key_value_heads": 2, "vocab_size": VOCABULARY, "head_dim": 8, "pad_token_id": 0}
SIGLIP: Final = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
QWEN_VISION: Final = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 8,
}
ROPE: Final = {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [1, 1, 2]}}
MODELS: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "gemma3": ("Gemma3ForConditionalGeneration", TEXT, {"vision_config": SIGLIP, "mm_tokens_per_image": 4}),
    "mistral3": (
        "Mistral3ForConditionalGeneration",
        TEXT | {"model_type": "mistral"},
        {"vision_config": SIGLIP | {"model_type": "pixtral"}, "spatial_merge_size": 1},
    ),
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration", TEXT | ROPE, {"vision_config": QWEN_VISION}),
}


def write_nested(model_type: str, folder: Path) -> None:
    model_class, text, values = MODELS[model_type]
    config = AutoConfig.for_model(model_type, text_config=text, **values)
    torch.manual_seed(1)
    module: PreTrainedModel = getattr(transformers, model_class)(config)
    module.save_pretrained(folder)
    write_tokenizer(folder)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model_type", MODELS)
def test_the_text_part_answers_as_transformers_has_it(
    model_type: str, dtype: Dtype, tier: Tier, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_nested(model_type, checkpoint)
    reference: PreTrainedModel = getattr(transformers, MODELS[model_type][0]).from_pretrained(checkpoint, dtype=dtype)
    prepared = prepared_of(checkpoint, "generation", dtype)
    skeleton = Skeleton(prepared.folder)
    bind(skeleton, filled(RamBacking(tier.mapping, 4 << 20), tier.read(prepared)))
    assert torch.equal(run(skeleton.module), run(reference.train(False)))


@pytest.mark.parametrize("model_type", MODELS)
def test_the_footprint_is_that_of_the_text_part(model_type: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_nested(model_type, checkpoint)
    architecture = read_architecture(checkpoint)
    assert (architecture.hidden, architecture.intermediate, architecture.layers) == (32, 64, 2)
    assert (architecture.kv_heads, architecture.head_dim, architecture.vocab) == (2, 8, VOCABULARY)
    spec = ModelSpec("m", (f"path:{checkpoint}",), "generation")
    assert estimate_footprint(spec, resolve(spec, tmp_path)).workspace_bytes > 0


def test_sizes_that_a_file_leaves_out_are_those_that_the_family_has(tmp_path: Path) -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "intermediate_size": 10240}
    config = {"model_type": "gemma3", "text_config": text, "vision_config": SIGLIP}
    (tmp_path / "config.json").write_text(json.dumps(config))
    sizes = AutoConfig.for_model("gemma3", text_config=text).get_text_config()
    found = read_architecture(tmp_path)
    assert found.vocab == sizes.vocab_size
    assert found.kv_heads == sizes.num_key_value_heads
    assert found.head_dim == sizes.head_dim
