"""`citadel embed`: options of a text's vector, and what is said of texts that were cut."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from msgspec.structs import replace

from engine.core.names import ModelName
from engine.core.tasks import Embed, RunEvent, RunResult, Task, TextTokens, Vectors
from engine.paths import find_paths
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


class Cutting(ScriptedEngine):
    """Keeps four tokens of each text."""

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        async for event in super().run(model, task):
            if isinstance(event, RunResult) and isinstance(event.result, Vectors):
                tokens = (TextTokens(4, 4), TextTokens(9, 4), TextTokens(900, 4, read_whole=False))
                made = replace(event.result, tokens=tokens, normalized=False, similarity="dot", prompt="query: ")
                event = replace(event, result=made)
            yield event


@pytest.fixture
async def engine() -> AsyncIterator[Cutting]:
    scripted = Cutting()
    async with serving(scripted, find_paths(os.environ)):
        yield scripted


async def test_options_reach_the_model(citadel: Citadel, engine: Cutting) -> None:
    await citadel("embed", "e5-small", "a", "b", "c", "--prompt", "query", "--dimensions", "2", "--truncate")
    assert engine.asked == [Embed(("a", "b", "c"), prompt="query", dimensions=2, truncate=True)]


async def test_cut_texts_are_named_and_vectors_described(citadel: Citadel, engine: Cutting) -> None:
    ran = await citadel("embed", "e5-small", "a", "b", "c", "--truncate")
    assert ran.err.splitlines() == [
        "citadel: text 2 was cut: 4 of 9 tokens are read",
        "citadel: text 3 was cut: 4 of more than 900 tokens are read",
    ]
    assert ran.out.splitlines()[0] == (
        "e5-small (synthetic) on gpu0: 3 dimensions, 0.01 s, not of unit length, as the model's files say,"
        " meant to be compared by dot, each text after 'query: '"
    )


async def test_json_says_what_was_kept_of_each_text(citadel: Citadel, engine: Cutting) -> None:
    answer = json.loads((await citadel("embed", "e5-small", "a", "b", "c", "--json")).out)
    assert answer["tokens"] == [[4, 4, True], [9, 4, True], [900, 4, False]]
    assert (answer["normalized"], answer["similarity"]) == (False, "dot")


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "e5-small", "caf\udce9"),
        ("embed", "e5-small", "a", "--json", "--prompt", "\udcff"),
        ("embed", "\ud800", "a", "--json"),
        ("generate", "phi-3-mini", "caf\udce9"),
        ("load", "caf\udce9"),
        ("\udce9",),
    ],
)
async def test_arguments_that_are_no_text_are_refused_in_words(
    arguments: tuple[str, ...], citadel: Citadel, engine: Cutting
) -> None:
    ran = await citadel(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("citadel: the argument ")
    assert ran.err.endswith("; convert it first\n")
    assert engine.asked == []
