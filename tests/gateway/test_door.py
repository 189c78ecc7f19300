"""Who is let in: keys, hosts, origins, and how much at once; and that whoever goes takes the run along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from engine.api import Overloaded
from engine.core.names import ModelName
from engine.core.tasks import RunEvent, Task, TextPart
from engine.gateway.door import DoorRules, Gateway, door_application
from engine.gateway.keys import KeyFile, add_key, remove_key
from tests.gateway.calls import Door
from tests.scripted_engine import ScriptedEngine

EMBED = {"model": "all-MiniLM-L6-v2", "input": "a"}
CHAT = {"model": "phi-3-mini", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@asynccontextmanager
async def opened(engine: ScriptedEngine, rules: DoorRules) -> AsyncIterator[Door]:
    async with TestClient(TestServer(door_application(Gateway(engine), rules))) as client:
        yield Door(client)


def bearing(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_only_who_shows_a_key_is_served_and_nothing_runs_for_others(
    scripted: ScriptedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    secret = add_key(path, "app", 0.0)
    async with opened(scripted, DoorRules(KeyFile(path))) as door:
        for headers in ({}, bearing("wrong"), {"Authorization": secret}, {"Authorization": f"Basic {secret}"}):
            refused = await door.post("/v1/embeddings", EMBED, headers)
            assert (refused.status, refused.body["error"]["code"]) == (401, "invalid_api_key")
            assert "citadel keys add NAME" in refused.body["error"]["message"]
        assert scripted.asked == []
        assert (await door.post("/v1/embeddings", EMBED, bearing(secret))).status == 200
        assert [asker.text for asker in scripted.askers] == ["key app"]
        remove_key(path, "app")
        assert (await door.post("/v1/embeddings", EMBED, bearing(secret))).status == 401


async def test_where_no_key_is_needed_a_request_is_known_by_its_address(scripted: ScriptedEngine, door: Door) -> None:
    await door.post("/v1/embeddings", EMBED)
    assert [asker.text for asker in scripted.askers] == ["127.0.0.1"]


async def test_a_file_of_keys_that_is_open_to_others_lets_nobody_in_and_says_why(
    scripted: ScriptedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    secret = add_key(path, "app", 0.0)
    path.chmod(0o644)
    async with opened(scripted, DoorRules(KeyFile(path))) as door:
        refused = await door.post("/v1/embeddings", EMBED, bearing(secret))
    assert refused.status == 500
    assert f"chmod 600 {path}" in refused.body["error"]["message"]
    assert scripted.asked == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", ""])
async def test_whoever_calls_the_engine_by_a_name_that_is_not_its_own_is_refused(
    scripted: ScriptedEngine, door: Door, host: str
) -> None:
    refused = await door.post("/v1/embeddings", EMBED, {"Host": host})
    assert refused.status in (400, 403)
    assert scripted.asked == []


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8484", "127.0.0.1:8484", "[::1]:8484", "192.168.1.7"])
async def test_addresses_and_localhost_are_its_own(door: Door, host: str) -> None:
    assert (await door.post("/v1/embeddings", EMBED, {"Host": host})).status == 200


async def test_a_name_from_the_settings_is_its_own(scripted: ScriptedEngine) -> None:
    async with opened(scripted, DoorRules(hosts=frozenset({"models.lan"}))) as door:
        assert (await door.post("/v1/embeddings", EMBED, {"Host": "models.lan:8484"})).status == 200


async def test_pages_of_other_origins_have_nothing_run_for_them(scripted: ScriptedEngine, door: Door) -> None:
    refused = await door.post("/v1/embeddings", EMBED, {"Origin": "https://evil.example"})
    assert (refused.status, refused.body["error"]["code"]) == (403, "wrong_origin")
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert scripted.asked == []


async def test_a_page_whose_origin_is_named_may_ask_and_read_streams_too(scripted: ScriptedEngine) -> None:
    origin = {"Origin": "https://app.example"}
    async with opened(scripted, DoorRules(origins=frozenset(origin.values()))) as door:
        asked = {"Access-Control-Request-Method": "POST", **origin}
        async with door.client.options("/v1/embeddings", headers=asked) as preflight:
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        answer = await door.post("/v1/embeddings", EMBED, origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        async with door.client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 1}, headers=origin) as streamed:
            assert streamed.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_a_body_beyond_the_limit_is_refused_with_the_limit(scripted: ScriptedEngine) -> None:
    async with opened(scripted, DoorRules(max_body_bytes=1 << 20)) as door:
        refused = await door.post("/v1/embeddings", EMBED | {"input": "x" * (1 << 20)})
    assert (refused.status, refused.body["error"]["code"]) == (413, "body_too_large")
    assert "1 MiB" in refused.body["error"]["message"]
    assert scripted.asked == []


class WritingEngine(ScriptedEngine):
    """Writes word after word, as the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.may_fail = asyncio.Event()

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        try:
            yield TextPart(0, "word")
            self.begun.set()
            await self.may_fail.wait()
            raise Overloaded("too much", retry_after_s=7.2)
        finally:
            self.ended.set()


async def test_closing_a_stream_ends_the_run() -> None:
    engine = WritingEngine()
    async with opened(engine, DoorRules()) as door:
        async with door.client.post("/v1/chat/completions", json=CHAT) as stream:
            assert b"word" in await stream.content.readline()
            await engine.begun.wait()
            stream.close()
        await engine.ended.wait()


async def test_a_client_that_goes_before_the_answer_ends_the_run() -> None:
    engine = WritingEngine()
    async with opened(engine, DoorRules()) as door:
        call = asyncio.create_task(door.post("/v1/chat/completions", CHAT | {"stream": False}))
        await engine.begun.wait()
        call.cancel()
        await engine.ended.wait()


async def test_what_fails_within_a_stream_is_said_in_it_and_before_it_with_its_status() -> None:
    engine = WritingEngine()
    engine.may_fail.set()
    async with opened(engine, DoorRules()) as door:
        _, failed = await door.events("/v1/chat/completions", CHAT)
        assert failed["error"]["code"] == "overloaded"
        whole = await door.post("/v1/chat/completions", CHAT | {"stream": False})
    assert (whole.status, whole.headers["Retry-After"]) == (429, "8")


async def test_one_key_has_so_many_requests_at_once() -> None:
    engine = WritingEngine()
    async with opened(engine, DoorRules(requests_per_key=1)) as door:
        async with door.client.post("/v1/chat/completions", json=CHAT):
            await engine.begun.wait()
            refused = await door.post("/v1/chat/completions", CHAT)
            assert (refused.status, refused.body["error"]["code"]) == (429, "too_many_requests")
            assert "Retry-After" in refused.headers
        await engine.ended.wait()
