"""What the worker's tests share: a RAM tier, and one fork server for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import torch
from transformers.utils import logging

from engine.weights.arena import Arena
from engine.worker.forkserver import ForkServer
from tests.worker.available_card import why_no_card
from tests.worker.models import Tier

logging.disable_progress_bar()  # type: ignore[no-untyped-call]

ARENA_BYTES = 1 << 30


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := why_no_card()):
        pytest.skip(reason)


@pytest.fixture
def tier() -> Tier:
    return Tier(64 << 20)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For models so small that torch's threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    """The RAM tier of the workers that the fork server makes."""
    arena = Arena(ARENA_BYTES)
    yield arena
    arena.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fork_server(arena: Arena) -> AsyncIterator[ForkServer]:
    server = ForkServer(arena.fd)
    yield server
    await server.close()
