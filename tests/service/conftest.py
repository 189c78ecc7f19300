"""A scripted engine, served at a socket in a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.client import RemoteEngine
from engine.paths import Paths
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


@pytest.fixture
def paths() -> Iterator[Paths]:
    """Short, because a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="citadel-") as folder:
        yield Paths(Path(folder, "run"), Path(folder, "state"), Path(folder, "cache"))


@pytest.fixture
async def scripted() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def remote(scripted: ScriptedEngine, paths: Paths) -> AsyncIterator[RemoteEngine]:
    """A client of `scripted`, which is served."""
    async with serving(scripted, paths):
        yield RemoteEngine(paths.socket)
