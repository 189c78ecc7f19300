"""OpenAI's dialect: shapes and figures as its clients expect them, and each field honoured or refused in words."""

from __future__ import annotations

import asyncio
import base64
from array import array
from typing import Any

import pytest

from engine.core.tasks import Embed, Generate, Message, Rerank, Vectors
from engine.gateway.dialect import FIGURES_A_TURN, figures_in, rows_as_json
from tests.gateway.calls import Door, with_judge
from tests.scripted_engine import ScriptedEngine

MINILM = "all-MiniLM-L6-v2"
PHI = "phi-3-mini"
HELLO = [{"role": "user", "content": "hello"}]


async def test_the_catalog_is_listed_and_each_model_is_found_by_its_name(door: Door) -> None:
    listed = await door.get("/v1/models")
    assert [card["id"] for card in listed.body["data"]] == [MINILM, "e5-small", "bge-base", PHI]
    assert {card["object"] for card in listed.body["data"]} == {"model"}
    assert (await door.get(f"/v1/models/{MINILM}")).body == listed.body["data"][0]
    missing = await door.get("/v1/models/nobody")
    assert (missing.status, missing.body["error"]["code"]) == (404, "model_not_found")


async def test_vectors_come_as_figures_or_as_the_same_bytes(door: Door) -> None:
    asked = {"model": MINILM, "input": ["a", "bb"]}
    figures = await door.post("/v1/embeddings", asked)
    coded = await door.post("/v1/embeddings", {**asked, "encoding_format": "base64"})
    assert figures.status == 200
    assert [row["index"] for row in figures.body["data"]] == [0, 1]
    assert [row["embedding"] for row in figures.body["data"]] == [[1.0, 0.0, 0.0], pytest.approx([0.6, 0.8, 0.0])]
    unpacked = [array("f", base64.b64decode(row["embedding"])).tolist() for row in coded.body["data"]]
    assert unpacked == [row["embedding"] for row in figures.body["data"]]
    assert figures.headers["Citadel-Device"] == "gpu0"
    assert figures.body["model"] == MINILM


async def test_one_text_is_a_list_of_one_and_dimensions_are_passed_on(scripted: ScriptedEngine, door: Door) -> None:
    answer = await door.post("/v1/embeddings", {"model": MINILM, "input": "a", "dimensions": 2, "user": None})
    assert len(answer.body["data"]) == 1
    assert scripted.asked == [Embed(("a",), dimensions=2)]


async def test_others_are_served_while_millions_of_figures_become_json() -> None:
    made = Vectors(4, array("f", range(4)).tobytes() * FIGURES_A_TURN)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    serving = asyncio.create_task(others())
    rows = await rows_as_json(made, lambda _, row: figures_in(row))
    serving.cancel()
    assert [bytes(row) for row in rows] == [b"[0.0,1.0,2.0,3.0]"] * FIGURES_A_TURN
    assert turns >= 4


async def test_a_chat_is_answered_with_its_end_and_usage(scripted: ScriptedEngine, door: Door) -> None:
    answer = await door.post("/v1/chat/completions", {"model": PHI, "messages": HELLO, "max_tokens": 3})
    choice = answer.body["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "word word word", "refusal": None}
    assert choice["finish_reason"] == "length"
    assert answer.body["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    assert answer.body["object"] == "chat.completion"
    assert scripted.asked == [Generate((Message("user", "hello"),), 3)]


async def test_settings_of_writing_are_passed_on(scripted: ScriptedEngine, door: Door) -> None:
    body = {
        "model": PHI,
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]}
        ],
        "max_completion_tokens": 2,
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["x", "y"],
    }
    assert (await door.post("/v1/chat/completions", body)).status == 200
    task = Generate((Message("system", "be brief"),), 2, temperature=0.5, top_p=0.9, seed=7, stop=("x", "y"))
    assert scripted.asked == [task]


async def test_a_stream_has_a_role_the_text_in_pieces_an_end_and_the_usage_that_was_asked_for(door: Door) -> None:
    body = {"model": PHI, "messages": HELLO, "max_tokens": 3, "stream": True}
    *events, done = await door.events("/v1/chat/completions", body | {"stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    *chunks, last, usage = events
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["word", " word", " word"]
    assert [chunk["choices"][0]["delta"].get("role") for chunk in events[:-1]] == ["assistant", None, None, None]
    assert last["choices"][0]["finish_reason"] == "length"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 3)
    assert {chunk["usage"] for chunk in events[:-1]} == {None}
    assert len({event["id"] for event in events}) == 1
    assert {event["object"] for event in events} == {"chat.completion.chunk"}


async def test_a_text_is_gone_on_with_whole_and_streamed(scripted: ScriptedEngine, door: Door) -> None:
    body = {"model": PHI, "prompt": ["once"], "max_tokens": 2}
    whole = await door.post("/v1/completions", body)
    assert whole.body["choices"][0]["text"] == "word word"
    assert whole.body["object"] == "text_completion"
    *events, done = await door.events("/v1/completions", body | {"stream": True})
    assert "".join(event["choices"][0]["text"] for event in events) == "word word"
    assert "usage" not in events[0]
    assert done == "[DONE]"
    assert scripted.asked == [Generate("once", 2)] * 2


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
async def test_documents_are_ranked_the_best_first(scripted: ScriptedEngine, door: Door, path: str) -> None:
    with_judge(scripted)
    documents = ["one two", "one two three", {"text": "one"}]
    body = {"model": "judge", "query": "q", "documents": documents, "top_n": 2, "return_documents": True}
    answer = await door.post(path, body)
    assert [(item["index"], item["relevance_score"]) for item in answer.body["results"]] == [(1, 0.75), (0, 0.5)]
    assert answer.body["results"][0]["document"] == {"text": "one two three"}
    assert scripted.asked == [Rerank("q", ("one two", "one two three", "one"))]


# ── refused, in words ────────────────────────────────────────────────────────────────────────────

_CHAT: dict[str, Any] = {"model": PHI, "messages": HELLO}


@pytest.mark.parametrize(
    ("extra", "field", "words"),
    [
        ({"tools": [{"type": "function"}]}, "tools", "tools is not supported: models here write text"),
        ({"response_format": {"type": "json_object"}}, "response_format", "a form can't be forced on a text"),
        ({"logprobs": True}, "logprobs", "scores of tokens are not kept"),
        ({"n": 2}, "n", "send several requests"),
        ({"user": "joe"}, "user", "requests are known by their key"),
        ({"safety_identifier": "joe"}, "safety_identifier", "requests are known by their key"),
        ({"prompt_cache_key": "a"}, "prompt_cache_key", "nothing is kept of a request"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "one by one"),
        ({"max_tokes": 5}, "max_tokes", "did you mean max_tokens?"),
        ({"temperature": "hot"}, "temperature", "Expected `float | null`, got `str`"),
        ({"temperature": -1}, None, "temperature must be 0 or more"),
        ({"messages": []}, None, "at least one message"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "image_url"),
        ({"messages": [{"role": "user"}]}, "messages", "content"),
        ({"messages": [{"role": "tool", "content": "3", "tool_call_id": "a"}]}, "messages", "`tool_call_id`"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages", "tool_calls"),
        ({"stream_options": {"x": 1}}, "stream_options", "unknown field `x`"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_its_name(
    scripted: ScriptedEngine, door: Door, extra: dict[str, Any], field: str | None, words: str
) -> None:
    answer = await door.post("/v1/chat/completions", _CHAT | extra)
    assert answer.status == 400
    assert words in answer.body["error"]["message"]
    assert answer.body["error"]["type"] == "invalid_request_error"
    assert answer.body["error"]["param"] == field
    assert scripted.asked == []


@pytest.mark.parametrize(
    "harmless",
    [
        {"tools": []},
        {"tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"logprobs": False},
        {"n": 1},
        {"logit_bias": None},
        {"store": False},
        {"messages": [{"role": "assistant", "content": "a", "refusal": None, "tool_calls": None, "annotations": []}]},
    ],
)
async def test_what_asks_for_nothing_is_let_pass(door: Door, harmless: dict[str, Any]) -> None:
    assert (await door.post("/v1/chat/completions", _CHAT | {"max_tokens": 1} | harmless)).status == 200


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{" * 100_000, b'{"model": "\\ud800"}', b"3"])
async def test_a_body_that_is_none_is_refused(door: Door, body: bytes) -> None:
    answer = await door.post("/v1/embeddings", body)
    assert answer.status == 400
    assert answer.body["error"]["message"]


async def test_faults_have_the_status_that_clients_act_on(door: Door) -> None:
    unknown = await door.post("/v1/embeddings", {"model": "nobody", "input": "a"})
    wrong_task = await door.post("/v1/embeddings", {"model": PHI, "input": "a"})
    no_route = await door.get("/v1/nothing")
    assert (unknown.status, unknown.body["error"]["code"]) == (404, "model_not_found")
    assert (wrong_task.status, wrong_task.body["error"]["code"]) == (400, "unfit")
    assert no_route.status == 404
    assert "GET /v1/nothing" in no_route.body["error"]["message"]


async def test_cohere_is_told_in_its_own_shape(door: Door) -> None:
    answer = await door.post("/v2/rerank", {"model": MINILM, "query": "q"})
    assert (answer.status, list(answer.body)) == (400, ["message"])


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ([3, 4, 5], Embed((), tokens=((3, 4, 5),))),
        ([[3, 4], [5]], Embed((), tokens=((3, 4), (5,)))),
    ],
)
async def test_tokens_are_passed_on_as_they_are(
    scripted: ScriptedEngine, door: Door, given: list[Any], task: Embed
) -> None:
    assert (await door.post("/v1/embeddings", {"model": MINILM, "input": given})).status == 200
    assert scripted.asked == [task]


@pytest.mark.parametrize("given", [[], ["a", 3], [[1], "a"], [3, [4]], [True], [1.5]])
async def test_an_input_that_is_neither_is_refused(scripted: ScriptedEngine, door: Door, given: list[Any]) -> None:
    answer = await door.post("/v1/embeddings", {"model": MINILM, "input": given})
    assert (answer.status, answer.body["error"]["param"]) == (400, "input")
    assert scripted.asked == []


async def test_a_chat_without_a_length_is_written_as_long_as_fits(scripted: ScriptedEngine, door: Door) -> None:
    await door.post("/v1/chat/completions", {"model": PHI, "messages": HELLO, "presence_penalty": 0.5})
    assert scripted.asked == [Generate((Message("user", "hello"),), 256, as_fits=True, presence_penalty=0.5)]
