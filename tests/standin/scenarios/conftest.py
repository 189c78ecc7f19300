"""Workers and engines on cards of the stand-in that no other test's process sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.client import RemoteEngine
from engine.core.sizes import MIB
from engine.weights.arena import Arena
from engine.worker.forkserver import ForkServer
from tests.standin.cards import STATE, Cards
from tests.standin.scenarios.engines import running_engine
from tests.standin.scenarios.workers import Workers
from tests.worker.small_recipes import SMALL_EMBEDDER, prepare_small

ARENA_BYTES = 256 * MIB


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def all_workers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Workers, Cards]]:
    """A fork server whose workers know cards of their own, and a small model to load."""
    folder = tmp_path_factory.mktemp("workers")
    arena = Arena(ARENA_BYTES)
    server = ForkServer(arena.fd)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(STATE, str(folder / "cards"))
        workers, cards = Workers(server, arena, prepare_small(SMALL_EMBEDDER, folder)), Cards()
        await workers.start(backing="host")  # the fork server keeps the environment of its own start
    await workers.close()
    yield workers, cards
    await server.close()
    arena.close()


@pytest_asyncio.fixture(loop_scope="session")
async def workers(all_workers: tuple[Workers, Cards]) -> AsyncIterator[Workers]:
    """Starts worker processes, which end with the test."""
    workers, cards = all_workers
    yield workers
    cards.reset()
    await workers.close()


@pytest.fixture
def worker_cards(all_workers: tuple[Workers, Cards]) -> Cards:
    """The cards of the test's workers."""
    return all_workers[1]


@pytest_asyncio.fixture
async def engine(cards: Cards, tmp_path: Path) -> AsyncIterator[RemoteEngine]:
    """A whole engine on the test's cards."""
    folder = tmp_path / "engine"
    folder.mkdir()
    async with running_engine(folder) as engine:
        yield engine
