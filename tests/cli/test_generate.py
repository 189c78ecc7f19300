"""`citadel generate`: what it asks the engine for, what it says of the answer, and what it refuses."""

from __future__ import annotations

import json
import os

import pytest

from engine.core.tasks import Generate, Message
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine

SETTINGS = (
    "--sample --temperature 0.5 --top-p 0.9 --top-k 5 --min-p 0.1 --repetition-penalty 1.2 --seed 7 --stop a --stop é"
)


async def test_every_setting_reaches_the_model(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("generate", "phi-3-mini", "Once", "--max-tokens", "3", *SETTINGS.split())
    assert engine.asked == [Generate("Once", 3, "", True, 0.5, 0.9, 5, 0.1, 1.2, 7, ("a", "é"))]


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (("--chat",), (Message("user", "hi"),)),
        (("--system", "be short"), (Message("system", "be short"), Message("user", "hi"))),
        (("--raw",), "hi"),
        ((), "hi"),
    ],
)
async def test_a_prompt_is_a_message_where_a_conversation_is_asked_for(
    options: tuple[str, ...], messages: str | tuple[Message, ...], citadel: Citadel, engine: ScriptedEngine
) -> None:
    await citadel("generate", "phi-3-mini", "hi", *options)
    assert engine.asked == [Generate(messages)]


async def test_words_about_the_run_say_why_it_ended(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("generate", "phi-3-mini", "Once", "--max-tokens", "3")
    assert (ran.status, ran.out) == (0, "word word word\n")
    assert ran.err.endswith("3 tokens in 0.01 s, after a prompt of 1; ended by its length, 3\n")


async def test_the_answer_comes_as_json_too(citadel: Citadel, engine: ScriptedEngine) -> None:
    answer = json.loads((await citadel("generate", "phi-3-mini", "Once", "--max-tokens", "2", "--json")).out)
    assert answer["text"] == "word word"
    assert (answer["ended"], answer["stop"], answer["prompt_tokens"], answer["seed"]) == ("length", "", 1, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--temperature", "-1"), "temperature must be 0 or more"),
        (("--temperature", "nan"), "temperature must be 0 or more"),
        (("--top-p", "0"), "top_p must be above 0 and at most 1, not 0.0"),
        (("--top-k", "-3"), "top_k must be 0 or more"),
        (("--min-p", "1.5"), "min_p must be from 0 to 1"),
        (("--repetition-penalty", "0"), "repetition_penalty must be from"),
        (("--seed", "-1"), "seed must be a whole number from 0"),
        (("--stop", ""), "a stop string is empty"),
        (("--raw", "--system", "x"), "--raw asks for none"),
        (("--raw", "--chat"), "not allowed with"),
    ],
)
async def test_what_can_t_be_meant_is_refused_before_anything_is_loaded(
    options: tuple[str, ...], words: str, citadel: Citadel, engine: ScriptedEngine
) -> None:
    ran = await citadel("generate", "phi-3-mini", "Once", *options)
    assert (ran.status, ran.out, engine.asked) == (2, "", [])
    assert words in ran.err


@pytest.mark.parametrize("broken", [os.fsdecode(b"caf\xe9"), "a\ud800b", "\udcff"])
@pytest.mark.parametrize("where", ["model", "prompt", "system", "stop", "template"])
async def test_bytes_that_are_no_text_are_refused_in_words(
    where: str, broken: str, citadel: Citadel, engine: ScriptedEngine
) -> None:
    model, prompt = (broken, "Once") if where == "model" else ("phi-3-mini", broken if where == "prompt" else "Once")
    options = [f"--{where}", broken] if where in ("system", "stop", "template") else []
    for form in ([], ["--json"]):
        ran = await citadel("generate", model, prompt, *options, *form)
        assert (ran.status in (1, 2), ran.out, engine.asked) == (True, "", [])
        assert "UTF-8" in ran.err
        assert "Traceback" not in ran.err
