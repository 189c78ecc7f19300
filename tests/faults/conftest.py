"""How much damage is done, and where engines run that a test starts."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.lock import holder, signal_holder
from engine.paths import Paths, find_paths, make_folders
from tests.faults.processes import until


@pytest.fixture
def mutation_count(request: pytest.FixtureRequest) -> int:
    """Of each reader: enough to be worth its time in the suite; with `--mutations` as many as were asked for."""
    count: int | None = request.config.getoption("--mutations")
    return count or 200


@pytest.fixture
async def home(citadel_home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Paths]:
    """Where an engine finds itself; whatever runs there is ended with the test."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    paths = find_paths({"CITADEL_HOME": str(citadel_home)})
    make_folders(paths)
    yield paths
    make_folders(paths)
    if found := holder(paths):
        signal_holder(paths, found, signal.SIGKILL)
    await until(lambda: holder(paths) is None)
