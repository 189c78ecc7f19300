from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.core.models import Limits
from engine.weights.recipes import RECIPES, Recipe
from engine.worker.convert import load_module
from engine.worker.errors import BadRequest
from engine.worker.generation import Generator, share_limit
from engine.worker.synthetic import make
from engine.worker.tokenizer import load_tokenizer

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def tiny_phi3() -> Recipe:
    """The synthetic decoder's recipe, made small."""
    recipe = RECIPES["phi-3-mini"]
    sizes = TINY | {"num_key_value_heads": 4, "vocab_size": 400}
    return msgspec.structs.replace(recipe, config=recipe.config | sizes, stored_dtype="float32")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "tiny"
    make(tiny_phi3(), folder)
    return folder


@pytest.fixture
def generator(checkpoint: Path) -> Generator:
    module = load_module(checkpoint, "generation", torch.float32)
    return Generator(module, load_tokenizer(checkpoint), Limits(max_batch=1, max_sequence=32))


def test_a_continuation_is_greedy_and_repeatable(generator: Generator) -> None:
    text, tokens, filled = generator.generate("hello", 8)
    assert (text, tokens, filled) == generator.generate("hello", 8)
    assert 1 <= tokens <= 8


def test_a_prompt_that_is_too_long_is_cut_to_its_end(generator: Generator) -> None:
    _, tokens, filled = generator.generate("x" * 500, 100)
    assert 1 <= tokens <= 16
    assert filled == (16 + tokens) / 32


def test_asking_for_no_tokens_is_refused(generator: Generator) -> None:
    with pytest.raises(BadRequest, match="at least one token"):
        generator.generate("hello", 0)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 128))
def test_prompt_and_answer_fit_the_limit_together(prompt: int, asked: int, limit: int) -> None:
    kept, new = share_limit(prompt, asked, limit)
    assert 1 <= kept <= prompt
    assert 1 <= new <= asked
    assert kept + new <= limit
    assert new == asked or kept + new == limit
