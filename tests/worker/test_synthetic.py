"""Checkpoints that are made up: as large as their recipes say, the same every time, and labelled."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from engine.weights.header import weights_bytes
from engine.weights.pooling import read_pooling
from engine.weights.recipes import RECIPES, Recipe
from engine.worker.convert import load_module
from engine.worker.synthetic import main, make

SMALL = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 300}


def small(kind: str) -> Recipe:
    recipe = RECIPES[kind]
    return msgspec.structs.replace(recipe, config=recipe.config | SMALL)


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipes_parameter_count_is_that_of_its_model(kind: str) -> None:
    recipe = RECIPES[kind]
    values = dict(recipe.config)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    loader = AutoModelForCausalLM if recipe.task == "generation" else AutoModel
    with torch.device("meta"):
        module = loader.from_config(config)  # type: ignore[no-untyped-call]
    assert sum(parameter.numel() for parameter in module.parameters()) == recipe.parameters


def test_the_synthetic_decoder_is_about_400_mib_in_float16() -> None:
    assert 380e6 < RECIPES["phi-3-mini"].parameters * 2 < 430e6


def test_the_same_recipe_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(small("e5-small"), tmp_path / name)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_a_synthetic_checkpoint_says_so_and_can_be_loaded(tmp_path: Path) -> None:
    make(small("bge-base"), tmp_path / "m")
    assert "means nothing" in (tmp_path / "m" / "SYNTHETIC").read_text()
    assert read_pooling(tmp_path / "m") == "cls"
    module = load_module(tmp_path / "m", "embedding", torch.float32)
    assert weights_bytes(tmp_path / "m", "float32") == sum(p.numel() for p in module.parameters()) * 4
    weight = module.get_parameter("embeddings.word_embeddings.weight")
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_any_text_survives_the_byte_level_tokenizer(tmp_path: Path) -> None:
    make(small("e5-small"), tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    text = "naïve 猫 \t<b>&\x00"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_an_unknown_kind_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/nowhere", "gpt-9"]) == 2
    assert "bge-base, e5-small, phi-3-mini" in capsys.readouterr().err
