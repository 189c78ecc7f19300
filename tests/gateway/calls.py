"""How tests ask at the door: a call, its status, headers and body."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from msgspec import Struct
from msgspec.structs import replace

from engine.core.models import Footprint, ModelSpec
from engine.core.sizes import MIB
from engine.core.state import ModelState
from tests.scripted_engine import ScriptedEngine


class Answered(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: Any
    """JSON, decoded."""


class Door:
    """A client of the door."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def get(self, path: str, **headers: str) -> Answered:
        async with self.client.get(path, headers=headers) as response:
            return await _answered(response)

    async def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Answered:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(path, data=io.BytesIO(data), headers=headers) as response:
            return await _answered(response)

    async def events(self, path: str, body: object) -> list[Any]:
        """The data of each event of a stream, decoded, but the word that ends it."""
        async with self.client.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            assert response.headers["Content-Type"] == "text/event-stream"
            blocks = (await response.text()).split("\n\n")
        assert blocks.pop() == ""
        data = [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in data]


async def _answered(response: ClientResponse) -> Answered:
    return Answered(response.status, dict(response.headers), json.loads(await response.read()))


def with_judge(engine: ScriptedEngine) -> None:
    """Give its catalog a model that ranks, named judge."""
    judge = ModelState(ModelSpec("judge", ("path:/judge",), "rerank"), Footprint(80 * MIB, 10 * MIB))
    engine.set_state(replace(engine.state, models=engine.state.models | {"judge": judge}))
