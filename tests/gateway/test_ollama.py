"""Ollama's dialect: shapes and figures as its clients expect them, and each field honoured or refused in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.ledger import set_keep_alive
from engine.core.tasks import Embed, Generate, Message
from engine.gateway.dialect import BadBody
from engine.gateway.ollama import seconds_of
from tests.gateway.calls import Door
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S

MINILM = "all-MiniLM-L6-v2"
PHI = "phi-3-mini"
HELLO = [{"role": "user", "content": "hello"}]


async def lines(door: Door, path: str, body: object) -> list[Any]:
    async with door.client.post(path, json=body) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "application/x-ndjson"
        return [json.loads(line) for line in (await response.text()).splitlines() if line]


async def test_a_chat_comes_line_by_line_unless_it_is_wanted_whole(scripted: ScriptedEngine, door: Door) -> None:
    body = {"model": f"{PHI}", "messages": HELLO, "options": {"num_predict": 3}}
    *parts, last = await lines(door, "/api/chat", body)
    assert [part["message"]["content"] for part in parts] == ["word", " word", " word"]
    assert {part["done"] for part in parts} == {False}
    assert (last["done"], last["done_reason"], last["eval_count"], last["prompt_eval_count"]) == (True, "length", 3, 1)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert last["total_duration"] == 10_000_000
    whole = await door.post("/api/chat", body | {"stream": False})
    assert whole.body["message"]["content"] == "word word word"
    assert whole.body["done_reason"] == "length"
    assert scripted.asked == [Generate((Message("user", "hello"),), 3)] * 2


async def test_a_prompt_is_a_message_unless_it_is_raw(scripted: ScriptedEngine, door: Door) -> None:
    body = {"model": PHI, "prompt": "hello", "system": "be brief", "options": {"num_predict": 1}, "stream": False}
    said = await door.post("/api/generate", body)
    assert said.body["response"] == "word"
    await door.post("/api/generate", {**body, "system": "", "raw": True})
    messages = (Message("system", "be brief"), Message("user", "hello"))
    assert scripted.asked == [Generate(messages, 1), Generate("hello", 1)]


async def test_options_of_writing_are_passed_on(scripted: ScriptedEngine, door: Door) -> None:
    options = {
        "num_predict": 2,
        "temperature": 0.5,
        "top_k": 5,
        "top_p": 0.9,
        "min_p": 0.1,
        "seed": 7,
        "stop": ["x"],
        "repeat_penalty": 1.1,
        "num_ctx": 4096,
    }
    await door.post("/api/chat", {"model": PHI, "messages": HELLO, "options": options, "stream": False})
    task = Generate(
        (Message("user", "hello"),),
        2,
        temperature=0.5,
        top_k=5,
        top_p=0.9,
        min_p=0.1,
        seed=7,
        stop=("x",),
        repetition_penalty=1.1,
    )
    assert scripted.asked == [task]


async def test_vectors_come_by_both_routes(scripted: ScriptedEngine, door: Door) -> None:
    rows = await door.post("/api/embed", {"model": MINILM, "input": ["a", "bb"], "dimensions": 3})
    assert [len(row) for row in rows.body["embeddings"]] == [3, 3]
    assert rows.headers["Citadel-Device"] == "gpu0"
    one = await door.post("/api/embeddings", {"model": MINILM, "prompt": "a"})
    assert one.body["embedding"] == rows.body["embeddings"][0]
    assert scripted.asked == [Embed(("a", "bb"), dimensions=3, truncate=True), Embed(("a",), truncate=True)]


async def test_the_catalog_and_who_is_ready_where_and_until_when(scripted: ScriptedEngine, door: Door) -> None:
    tags = await door.get("/api/tags")
    assert [tag["name"] for tag in tags.body["models"]] == [MINILM, "e5-small", "bge-base", PHI]
    assert (await door.get("/api/ps")).body == {"models": []}
    await door.post("/api/embed", {"model": MINILM, "input": "a"})
    [ready] = (await door.get("/api/ps")).body["models"]
    assert (ready["name"], ready["device"]) == (MINILM, "gpu0")
    assert ready["size_vram"] == ready["size"] > 0
    assert ready["expires_at"].startswith("9999")
    shown = await door.post("/api/show", {"model": MINILM})
    assert shown.body["capabilities"] == ["embedding"]
    assert (await door.get("/api/version")).body["version"]


async def test_keep_alive_is_for_the_model_from_then_on(scripted: ScriptedEngine, door: Door) -> None:
    await door.post("/api/embed", {"model": MINILM, "input": "a", "keep_alive": "1m30s"})
    assert scripted.state.models[MINILM].keep_alive_s == 90
    await door.post("/api/embed", {"model": MINILM, "input": "a"})
    assert scripted.state.models[MINILM].keep_alive_s == 90
    await door.post("/api/embed", {"model": MINILM, "input": "a", "keep_alive": -1})
    assert scripted.state.models[MINILM].keep_alive_s is None


async def test_without_a_prompt_a_model_is_brought_or_let_go(scripted: ScriptedEngine, door: Door) -> None:
    brought = await door.post("/api/generate", {"model": PHI})
    assert (brought.body["done"], brought.body["done_reason"]) == (True, "load")
    assert [resident.model for resident in scripted.state.residents] == [PHI]
    let_go = await door.post("/api/chat", {"model": PHI, "keep_alive": 0})
    assert let_go.body["done_reason"] == "unload"
    assert scripted.state.models[PHI].keep_alive_s == 0
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (300, 300.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("0", 0.0),
        (-1, None),
        ("-1s", None),
    ],
)
def test_spans_are_read_as_ollama_writes_them(given: float | str, seconds: float | None) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "5 m", "soon", "5m!", "m"])
def test_a_span_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(BadBody, match="5m"):
        seconds_of(given)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"format": "json"}, "a form can't be forced"),
        ({"tools": [{}]}, "call nothing"),
        ({"think": True}, "no such setting"),
        ({"options": {"mirostat": 2}}, "mirostat is not supported"),
        ({"options": {"temprature": 1}}, "did you mean temperature?"),
        ({"options": {"num_gpu": 1}}, "the operator's"),
        ({"messages": [{"role": "user", "content": "x", "images": ["a"]}]}, "images"),
        ({"temperature": 1}, "temperature"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_in_words(
    scripted: ScriptedEngine, door: Door, extra: dict[str, Any], words: str
) -> None:
    answer = await door.post("/api/chat", {"model": PHI, "messages": HELLO} | extra)
    assert answer.status == 400
    assert words in answer.body["error"]
    assert scripted.asked == []


async def test_an_unknown_model_is_not_found(door: Door) -> None:
    answer = await door.post("/api/chat", {"model": "nobody", "messages": HELLO, "stream": False})
    assert answer.status == 404
    assert "nobody" in answer.body["error"]


async def test_the_countdown_is_told(scripted: ScriptedEngine, door: Door) -> None:
    await door.post("/api/embed", {"model": MINILM, "input": "a"})
    state = set_keep_alive(scripted.state, MINILM, 60.0)
    idle = tuple(replace(resident, idle_since_s=START_S) for resident in state.residents)
    scripted.set_state(replace(state, residents=idle))
    [ready] = (await door.get("/api/ps")).body["models"]
    assert datetime.fromisoformat(ready["expires_at"]) == datetime.fromtimestamp(START_S + 60, UTC)
