"""A conversation in the form that the checkpoint's own chat template gives it, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaConfig, PreTrainedTokenizerFast

from engine.core.models import Limits
from engine.core.tasks import Generate, Message
from engine.worker.errors import BadRequest
from engine.worker.prompt import Limit, limit_of, prompt_tokens
from engine.worker.tokenizer import load_tokenizer
from tests.worker.decoders import fallback_tokenizer, generator, write_decoder, written, written_by_transformers

TURNS = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}model: {% endif %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURNS
CHAT = (Message("system", "be short"), Message("user", "hi 🙂"))
LIMIT = Limit(128, "the test")


def with_template(folder: Path, template: str | dict[str, str]) -> PreTrainedTokenizerFast:
    """A tokenizer with its chat templates, saved as transformers saves them and read again."""
    tokenizer = fallback_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    loaded = load_tokenizer(folder)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    return loaded


def tokens_of(tokenizer: PreTrainedTokenizerFast, task: Generate) -> list[int]:
    return prompt_tokens(tokenizer, task, LIMIT, len(tokenizer))


def test_a_conversation_is_written_down_as_transformers_does_it(tmp_path: Path) -> None:
    tokenizer = with_template(tmp_path, TURNS)
    assert (tmp_path / "chat_template.jinja").is_file()
    turns = [{"role": "system", "content": "be short"}, {"role": "user", "content": "hi 🙂"}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert isinstance(expected, list)
    assert tokens_of(tokenizer, Generate(CHAT)) == expected
    assert [token for token in expected if token == 0] == [0, 0]  # only the template's own `<s>`


def test_a_model_answers_a_conversation(tmp_path: Path) -> None:
    tokenizer = fallback_tokenizer()
    tokenizer.chat_template = TURNS
    folder = write_decoder(tmp_path / "chat", tokenizer=tokenizer)
    row = tokens_of(tokenizer, Generate(CHAT))
    _, tokens = written_by_transformers(folder, row, 8)
    result = written(generator(folder), Generate(CHAT, 8))
    assert (result.prompt_tokens, result.tokens) == (len(row), len(tokens))


def test_a_template_is_taken_by_its_name(tmp_path: Path) -> None:
    tokenizer = with_template(tmp_path, {"default": TURNS, "short": "{{ messages[-1].content }}"})
    assert (tmp_path / "additional_chat_templates" / "short.jinja").is_file()
    short = tokens_of(tokenizer, Generate(CHAT, template="short"))
    assert tokenizer.decode(short) == "hi 🙂"
    assert len(tokens_of(tokenizer, Generate(CHAT))) > len(short)
    with pytest.raises(BadRequest, match="templates default, short, but none named long"):
        tokens_of(tokenizer, Generate(CHAT, template="long"))


def test_of_several_templates_without_a_default_one_is_to_be_named(tmp_path: Path) -> None:
    tokenizer = fallback_tokenizer()
    tokenizer.chat_template = {"rag": TURNS, "tool_use": TURNS}
    with pytest.raises(BadRequest, match="templates rag, tool_use; name one"):
        tokens_of(tokenizer, Generate(CHAT))


def test_a_model_without_a_template_refuses_messages_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"no chat template.*give it a raw prompt"):
        tokens_of(fallback_tokenizer(), Generate(CHAT))


@pytest.mark.parametrize(
    ("template", "words"),
    [(REFUSES, "refuses these messages: System role not supported"), ("{% if %}", "refuses these messages: Expected")],
)
def test_a_template_that_raises_is_quoted(template: str, words: str) -> None:
    tokenizer = fallback_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(BadRequest, match=words):
        tokens_of(tokenizer, Generate(CHAT))


def test_the_lowest_limit_counts_and_is_named() -> None:
    tokenizer = fallback_tokenizer()
    config = LlamaConfig(max_position_embeddings=64)
    assert limit_of(tokenizer, Limits(1, 128), config) == Limit(64, "the positions of its config.json")
    assert limit_of(tokenizer, Limits(1, 64), config).source == "the positions of its config.json"
    assert limit_of(tokenizer, Limits(1, 32), config).tokens == 32
    tokenizer.model_max_length = 16
    assert limit_of(tokenizer, Limits(1, 32), config) == Limit(16, "the tokenizer's model_max_length")
