"""The clients that applications are built on, against a running engine: each embeds, writes, streams or ranks."""

from __future__ import annotations

import cohere
import litellm
import ollama
import pytest
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import SecretStr

from tests.clients.box import Box

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture
def vector(box: Box) -> list[float]:
    """Of the text "a cat"."""
    client = ollama.Client(box.url, headers={"Authorization": f"Bearer {box.key}"})
    return list(client.embed(MINILM, "a cat").embeddings[0])


def test_ollama(box: Box) -> None:
    client = ollama.Client(box.url, headers={"Authorization": f"Bearer {box.key}"})
    assert MINILM in [model.model for model in client.list().models]
    whole = client.chat("writer", [{"role": "user", "content": "hi"}], options={"num_predict": 8, "temperature": 0})
    parts = list(
        client.chat(
            "writer", [{"role": "user", "content": "hi"}], stream=True, options={"num_predict": 8, "temperature": 0}
        )
    )
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert len(parts) >= 4
    assert parts[-1].eval_count == whole.eval_count == 8
    client.embed(MINILM, "x", keep_alive="10m")
    ready = {model.model: model for model in client.ps().models}
    assert ready[MINILM].expires_at is not None
    with pytest.raises(ollama.ResponseError, match="did you mean"):
        client.show("all-MiniLM-L6")


def test_langchain_by_openai(box: Box, vector: list[float]) -> None:
    embeddings = OpenAIEmbeddings(
        model=MINILM, base_url=f"{box.url}/v1", api_key=SecretStr(box.key), check_embedding_ctx_length=False
    )
    assert embeddings.embed_query("a cat") == pytest.approx(vector, abs=1e-6)
    chat = ChatOpenAI(
        model="writer", base_url=f"{box.url}/v1", api_key=SecretStr(box.key), temperature=0, max_retries=0
    )
    pieces = [str(piece.content) for piece in chat.stream("hello", max_tokens=10)]
    assert len([piece for piece in pieces if piece]) >= 3
    assert "".join(pieces) == chat.invoke("hello", max_tokens=10).content


def test_langchain_by_ollama(box: Box, vector: list[float]) -> None:
    client_kwargs = {"headers": {"Authorization": f"Bearer {box.key}"}}
    embeddings = OllamaEmbeddings(model=MINILM, base_url=box.url, client_kwargs=client_kwargs)
    assert embeddings.embed_query("a cat") == pytest.approx(vector, abs=1e-6)
    chat = ChatOllama(model="writer", base_url=box.url, num_predict=10, temperature=0, client_kwargs=client_kwargs)
    pieces = [str(piece.content) for piece in chat.stream("hello")]
    assert len([piece for piece in pieces if piece]) >= 3
    assert "".join(pieces) == chat.invoke("hello").content


def test_llama_index(box: Box, vector: list[float]) -> None:
    embedding = OpenAILikeEmbedding(model_name=MINILM, api_base=f"{box.url}/v1", api_key=box.key)
    assert embedding.get_query_embedding("a cat") == pytest.approx(vector, abs=1e-6)
    writer = OpenAILike(model="writer", api_base=f"{box.url}/v1", api_key=box.key, max_tokens=10, temperature=0)
    assert len([part for part in writer.stream_complete("once") if part.delta]) >= 3


def test_litellm(box: Box, vector: list[float]) -> None:
    made = litellm.embedding(
        f"openai/{MINILM}", input=["a cat"], api_base=f"{box.url}/v1", api_key=box.key, encoding_format="float"
    )
    assert made.data[0]["embedding"] == pytest.approx(vector, abs=1e-6)
    parts = litellm.completion(
        "openai/writer",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=10,
        stream=True,
        api_base=f"{box.url}/v1",
        api_key=box.key,
    )
    assert len([part for part in parts if part.choices[0].delta.content]) >= 3


def test_cohere(box: Box) -> None:
    client = cohere.ClientV2(api_key=box.key, base_url=box.url)
    ranked = client.rerank(model="judge", query="cat", documents=["a cat", "a dog", "a bird"], top_n=2)
    assert len(ranked.results) == 2
    assert ranked.results[0].relevance_score >= ranked.results[1].relevance_score
