"""A prompt to its continuation, within the model's limits, said as it is written."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.core.models import Limits
from engine.core.tasks import Continuation, Generate, TaskPart
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
    once, again = (generator.run(Generate("hello", 8), lambda _: None) for _ in range(2))
    assert once == again
    assert isinstance(once.result, Continuation)
    assert 1 <= once.result.tokens <= 8


def test_what_is_written_is_said_meanwhile_and_nothing_else_than_the_result(generator: Generator) -> None:
    said: list[TaskPart] = []
    result = generator.run(Generate("hello", 16), said.append).result
    assert isinstance(result, Continuation)
    assert len(said) > 1
    text = "".join(part.text for part in said)
    assert result.text.startswith(text)
    assert [part.begin for part in said] == [len("".join(p.text for p in said[:n])) for n in range(len(said))]


def test_a_checkpoint_that_asks_for_beams_says_nothing_before_its_result(checkpoint: Path) -> None:
    module = load_module(checkpoint, "generation", torch.float32)
    assert module.generation_config is not None
    module.generation_config.num_beams = 2
    said: list[TaskPart] = []
    runner = Generator(module, load_tokenizer(checkpoint), Limits(max_batch=1, max_sequence=32))
    result = runner.run(Generate("hello", 4), said.append).result
    assert isinstance(result, Continuation)
    assert (said, result.tokens > 0) == ([], True)


def test_a_prompt_that_is_too_long_is_cut_to_its_end(generator: Generator) -> None:
    outcome = generator.run(Generate("x" * 500, 100), lambda _: None)
    assert isinstance(outcome.result, Continuation)
    assert 1 <= outcome.result.tokens <= 16
    assert outcome.filled == (16 + outcome.result.tokens) / 32


def test_asking_for_no_tokens_is_refused(generator: Generator) -> None:
    with pytest.raises(BadRequest, match="at least one token"):
        generator.run(Generate("hello", 0), lambda _: None)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 128))
def test_prompt_and_answer_fit_the_limit_together(prompt: int, asked: int, limit: int) -> None:
    kept, new = share_limit(prompt, asked, limit)
    assert 1 <= kept <= prompt
    assert 1 <= new <= asked
    assert kept + new <= limit
    assert new == asked or kept + new == limit
