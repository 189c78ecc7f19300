"""Workers and engines on fresh cards of the stand-in, which see no other test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine.core.sizes import MIB
from engine.weights.arena import Arena
from engine.worker.forkserver import ForkServer
from tests.standin.cards import Cards
from tests.standin.scenarios.workers import Workers
from tests.worker.small import SMALL_EMBEDDER, prepare_small

ARENA_BYTES = 256 * MIB


@pytest_asyncio.fixture
async def workers(cards: Cards, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
    """Worker processes that know the cards of this test only, with a small model to load."""
    arena = Arena(ARENA_BYTES)
    server = ForkServer(arena.fd)
    workers = Workers(server, arena, prepare_small(SMALL_EMBEDDER, tmp_path_factory.mktemp("models")))
    yield workers
    await workers.close()
    async with asyncio.timeout(20):
        await server.close()
    arena.close()
