"""Judging texts from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from citadel_tui.cli.selftest import agree, selftest
from engine.core.models import Footprint, ModelSpec
from engine.core.sizes import MIB
from engine.core.state import ModelState
from engine.core.tasks import Continuation, LabelScores, Scores, TaskKind, TextTokens
from engine.paths import find_paths
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.service.serving import serving


def judging_engine(**tasks: TaskKind) -> ScriptedEngine:
    """One that has models for these tasks only."""
    footprint = Footprint(80 * MIB, 10 * MIB)
    models = {name: ModelState(ModelSpec(name, (f"path:/{name}",), task), footprint) for name, task in tasks.items()}
    return ScriptedEngine(replace(scripted_state(), models=models))


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    scripted = judging_engine(judge="rerank", sorter="classify", embedder="embedding")
    async with serving(scripted, find_paths(os.environ)):
        yield scripted


async def test_documents_are_listed_the_best_first(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("rerank", "judge", "who", "a cat", "the cat sits", "cat")
    assert ran.out.splitlines() == [
        "judge on gpu0: 3 documents, 0.01 s",
        " SCORE  NO  DOCUMENT",
        "0.7500   2  the cat sits",
        "0.5000   1  a cat",
        "0.2500   3  cat",
    ]
    assert ran.err == ""


async def test_only_the_best_are_listed_where_so_many_are_asked_for(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("rerank", "judge", "who", "a cat", "the cat sits", "cat", "--top", "1", "--json")
    answer = json.loads(ran.out)
    assert answer["ranked"] == [{"document": 1, "score": 0.75, "tokens": [3, 3, True]}]
    assert answer["model"] == "judge"


async def test_each_text_gets_its_labels_the_best_first(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("classify", "sorter", "cat", "the cat sits")
    assert ran.out.splitlines() == [
        "sorter on gpu0: 2 texts, 0.01 s",
        "LABELS                     TEXT",
        "short 0.7500, long 0.2500  cat",
        "long 0.7500, short 0.2500  the cat sits",
    ]


async def test_all_labels_come_as_json(citadel: Citadel, engine: ScriptedEngine) -> None:
    answer = json.loads((await citadel("classify", "sorter", "cat", "--json")).out)
    labels = [{"label": "short", "score": 0.75}, {"label": "long", "score": 0.25}]
    assert answer["texts"] == [{"labels": labels, "tokens": [1, 1, True]}]


@pytest.mark.parametrize("command", [("rerank", "judge", "who"), ("classify", "sorter")])
async def test_a_text_that_is_too_long_is_refused_and_cut_when_asked_for(
    command: tuple[str, ...], citadel: Citadel, engine: ScriptedEngine
) -> None:
    long = "one two three four five"
    refused = await citadel(*command, "cat", long)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == "citadel: text 2 is 5 tokens long, and the model reads 4\n"
    cut = await citadel(*command, "cat", long, "--truncate")
    assert cut.status == 0
    assert "2 was cut: " in cut.err
    assert "4 of 5 tokens are read" in cut.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("rerank", "embedder", "who", "cat"), "embedder is for embedding, not for rerank"),
        (("classify", "judge", "cat"), "judge is for rerank, not for classify"),
        (("embed", "judge", "cat"), "judge is for rerank, not for embedding"),
        (("rerank", "nobody", "who", "cat"), "nobody"),
    ],
)
async def test_a_model_for_another_task_is_refused_in_words(
    command: tuple[str, ...], words: str, citadel: Citadel, engine: ScriptedEngine
) -> None:
    ran = await citadel(*command)
    assert ran.status == 1
    assert words in ran.err


@pytest.mark.parametrize("json_too", [(), ("--json",)])
@pytest.mark.parametrize("broken", ["caf\udce9", "\ud800"])
@pytest.mark.parametrize(
    "command",
    [
        ("rerank", "{}", "who", "cat"),
        ("rerank", "judge", "{}", "cat"),
        ("rerank", "judge", "who", "cat", "{}"),
        ("classify", "{}", "cat"),
        ("classify", "sorter", "{}"),
    ],
)
async def test_arguments_that_are_no_text_are_refused_by_what_they_hold(
    command: tuple[str, ...], broken: str, json_too: tuple[str, ...], citadel: Citadel, engine: ScriptedEngine
) -> None:
    ran = await citadel(*(word.replace("{}", broken) for word in command), *json_too)
    assert (ran.status, ran.out) == (2, "")
    assert "no UTF-8" in ran.err


@pytest.mark.parametrize("odd", ["", "\x00", "\x1b[31mred\x07", "\u202egnirts", "\n\t", "🐈" * 40])
async def test_texts_of_any_characters_are_judged_and_harm_no_terminal(
    odd: str, citadel: Citadel, engine: ScriptedEngine
) -> None:
    for command in (("rerank", "judge", odd, odd), ("classify", "sorter", odd)):
        ran = await citadel(*command)
        assert ran.status == 0
        assert not set(ran.out) & set("\x00\x1b\x07\u202e")


@pytest.mark.parametrize("task", ["rerank", "classify"])
async def test_the_self_test_passes_with_a_model_that_judges(task: TaskKind) -> None:
    checks = [check async for check in selftest(judging_engine(judge=task))]
    assert all(check.passed for check in checks)


def test_answers_of_two_devices_may_differ_by_their_arithmetic_only() -> None:
    assert agree(Scores((0.5,), (TextTokens(3, 3),)), Scores((0.5001,), (TextTokens(3, 3),)))
    assert not agree(Scores((0.5,), (TextTokens(3, 3),)), Scores((0.7,), (TextTokens(3, 3),)))
    assert not agree(Scores((0.5,), (TextTokens(3, 3),)), Scores((0.5,), (TextTokens(3, 2),)))
    assert not agree(Scores((0.5,), (TextTokens(3, 3),)), Scores((), ()))
    row = LabelScores(("a", "b"), ((0.4, 0.6),), (TextTokens(3, 3),))
    assert agree(row, LabelScores(("a", "b"), ((0.401, 0.599),), (TextTokens(3, 3),)))
    assert not agree(row, LabelScores(("b", "a"), ((0.4, 0.6),), (TextTokens(3, 3),)))
    assert not agree(row, Continuation("a", 1))
