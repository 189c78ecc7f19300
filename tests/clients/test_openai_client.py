"""OpenAI's own client against a running engine."""

from __future__ import annotations

import json

import openai
import pytest

from tests.clients.box import Box

MINILM = "all-MiniLM-L6-v2"
TEXTS = ["a cat sits", "the dog ran away", "stocks fell"]
HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(box: Box) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{box.url}/v1", api_key=box.key, max_retries=0)


def test_the_catalog_is_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MINILM, "writer", "judge"]


def test_vectors_are_the_same_as_floats_as_base64_by_alias_and_by_the_console(box: Box, client: openai.OpenAI) -> None:
    floats = client.embeddings.create(model=MINILM, input=TEXTS, encoding_format="float")
    coded = client.embeddings.create(
        model="text-embedding-3-small", input=TEXTS
    )  # the client asks for base64 and decodes it
    manager = box.run(
        "-c",
        "import json, sys; from engine import GPUManager\n"
        "with GPUManager() as gpus: print(json.dumps(gpus.embed(sys.argv[1], sys.argv[2:])))",
        MINILM,
        *TEXTS,
    )
    for row, other, own in zip(floats.data, coded.data, json.loads(manager), strict=True):
        assert row.embedding == pytest.approx(own, abs=1e-6)
        assert other.embedding == pytest.approx(own, abs=1e-6)
    assert floats.usage.prompt_tokens > 0


def test_a_text_comes_in_pieces_and_is_the_one_that_comes_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="writer", messages=HELLO, max_tokens=12)
    pieces, usage, finish = [], None, None
    for chunk in client.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    assert len([piece for piece in pieces if piece]) >= 3
    assert "".join(pieces) == whole.choices[0].message.content
    assert finish == whole.choices[0].finish_reason
    assert usage == whole.usage


def test_closing_a_stream_after_two_pieces_frees_the_model(box: Box, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="writer", messages=HELLO, max_tokens=60, stream=True)
    next(stream), next(stream)
    stream.close()
    while box.leases("writer"):
        pass  # it ends with the token under way


def test_a_seed_draws_the_same_text_again(client: openai.OpenAI) -> None:
    drawn = [
        client.completions.create(model="writer", prompt="once", max_tokens=10, temperature=1.5, seed=seed)
        .choices[0]
        .text
        for seed in (5, 5, 6)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_wrong_key_and_an_unknown_model_have_the_clients_own_errors(box: Box, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError, match="citadel keys add NAME"):
        openai.OpenAI(base_url=f"{box.url}/v1", api_key="wrong", max_retries=0).models.list()
    with pytest.raises(openai.NotFoundError, match=f"did you mean {MINILM}"):
        client.embeddings.create(model="all-MiniLM-L6", input="x")


def test_what_is_not_done_here_is_a_bad_request_with_our_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="a form can't be forced"):
        client.chat.completions.create(model="writer", messages=HELLO, response_format={"type": "json_object"})
