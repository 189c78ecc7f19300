"""The door of a scripted engine, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from engine.gateway.door import DoorRules, Gateway, door_application
from tests.gateway.calls import Door
from tests.scripted_engine import ScriptedEngine


@pytest.fixture
async def scripted() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def door(scripted: ScriptedEngine) -> AsyncIterator[Door]:
    """Open to whoever reaches it."""
    async with TestClient(TestServer(door_application(Gateway(scripted), DoorRules()))) as client:
        yield Door(client)
