"""The text of tokens as they come: whole characters, never taken back, and together what the tokenizer makes of all tokens."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.worker.text_stream import TextStream, text_stream
from tests.worker.decoders import bytes_tokenizer, fallback_tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def words_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words with spaces between them, those before punctuation to be tidied away."""
    words = ["[UNK]", "a", "cat", "don", "n't", ".", ",", "'", "'ve", "'s", "n", "v", "re", "?"]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, unk_token="[UNK]", clean_up_tokenization_spaces=True
    )


@cache
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    return {"bytes": bytes_tokenizer(), "fallback": fallback_tokenizer(), "words": words_tokenizer()}


def pieces_of(stream: TextStream, tokens: list[int]) -> list[str]:
    return [*(stream.add(token) for token in tokens), stream.end()]


def whole_of(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


@pytest.mark.parametrize("kind", ["bytes", "fallback"])
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), min_size=1, max_size=24))
def test_any_text_comes_in_whole_characters_and_whole(kind: str, text: str) -> None:
    tokenizer = tokenizers()[kind]
    tokens: list[int] = tokenizer(text)["input_ids"]
    pieces = pieces_of(text_stream(tokenizer), tokens)
    assert "".join(pieces) == whole_of(tokenizer, tokens)
    if UNFINISHED not in text:
        assert not any(UNFINISHED in piece for piece in pieces)


@pytest.mark.parametrize("kind", ["bytes", "words"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_tokens_come_to_what_the_tokenizer_makes_of_them(kind: str, data: st.DataObject) -> None:
    tokenizer = tokenizers()[kind]
    tokens = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    assert "".join(pieces_of(text_stream(tokenizer), tokens)) == whole_of(tokenizer, tokens)


@settings(max_examples=60, deadline=None)
@given(tokens=st.lists(st.integers(0, 265), max_size=20), more=st.lists(st.integers(0, 265), max_size=5))
def test_what_was_said_is_never_taken_back(tokens: list[int], more: list[int]) -> None:
    tokenizer = tokenizers()["fallback"]
    stream = text_stream(tokenizer)
    said = "".join(stream.add(token) for token in tokens)
    assert "".join(pieces_of(text_stream(tokenizer), [*tokens, *more])).startswith(said)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text("abcé🙂", max_size=30),
    stops=st.lists(st.text("abé🙂", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_a_text_ends_before_the_first_stop_string_wherever_its_tokens_end(text: str, stops: list[str]) -> None:
    tokenizer = tokenizers()["bytes"]
    stream = text_stream(tokenizer, stops)
    said = ""
    for token in tokenizer(text)["input_ids"]:
        said += stream.add(token)
        if stream.stop is not None:
            break
    said += stream.end()
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert (said, stream.stop) == (text, None)
        return
    assert stream.stop in stops
    read = text[: min(ends)]
    assert said == read[: min(read.find(stop) for stop in stops if stop in read)]


def test_an_unfinished_character_at_the_end_is_said_as_what_it_is() -> None:
    tokenizer = tokenizers()["bytes"]
    tokens: list[int] = tokenizer("a🙂")["input_ids"]
    stream = text_stream(tokenizer)
    assert [stream.add(token) for token in tokens[:-1]] == ["a", *([""] * (len(tokens) - 2))]
    assert stream.end() == UNFINISHED


def test_spaces_before_punctuation_wait_until_they_are_certain() -> None:
    tokenizer = tokenizers()["words"]
    tokens = [tokenizer.vocab[word] for word in ("a", "cat", ".", "don", "n't")]
    pieces = pieces_of(text_stream(tokenizer), tokens)
    assert "".join(pieces) == "a cat. donn't"
    assert len([piece for piece in pieces if piece]) > 2
