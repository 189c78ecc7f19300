"""Which model a name means: its own, an alias, the hub's; and which one may have been meant."""

from __future__ import annotations

import pytest

from engine.core.model_names import model_meant, nearest_model
from engine.core.models import ModelSpec

MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec("bge-base", ("hub:BAAI/bge-base-en-v1.5", "synthetic:bge-base"), "embedding"),
        ModelSpec(
            "MiniLM", ("package:m", "hub:BAAI/bge-base-en-v1.5"), "embedding", aliases=("text-embedding-3-small",)
        ),
        ModelSpec("writer", ("path:/w",), "generation", aliases=("bge-base", "gpt-4o")),
    )
}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("bge-base", "bge-base"),
        ("BGE-Base", "bge-base"),
        ("minilm:latest", "MiniLM"),
        ("text-embedding-3-small", "MiniLM"),
        ("GPT-4o", "writer"),
        ("BAAI/bge-base-en-v1.5", "bge-base"),
        ("baai/BGE-base-en-v1.5:latest", "bge-base"),
        ("bge-bas", None),
        ("", None),
        (":latest", None),
    ],
)
def test_a_name_means_one_model_or_none(name: str, meant: str | None) -> None:
    assert model_meant(MODELS, name) == meant


@pytest.mark.parametrize(
    ("name", "nearest"), [("bge-bas", "bge-base"), ("text-embedding-3-smal", "MiniLM"), ("quite different", None)]
)
def test_a_near_miss_has_a_model_that_may_have_been_meant(name: str, nearest: str | None) -> None:
    assert nearest_model(MODELS, name) == nearest
