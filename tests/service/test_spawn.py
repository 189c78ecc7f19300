"""Starting an engine that outlives its starter, and what the starter hears when that goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from engine.client import RemoteEngine, connect
from engine.lock import holder
from engine.paths import Paths, make_folders
from engine.process import StartFailed, ensure_engine, wait_until_gone

PROGRAM: Final = ("-m", "tests.service.scripted_process")


@pytest.fixture
async def home(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Paths]:
    """Where a spawned engine finds itself; ended with the test."""
    monkeypatch.setenv("CITADEL_HOME", str(paths.run.parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    make_folders(paths)
    yield paths
    if holder(paths) is not None:
        await RemoteEngine(paths.socket).stop()
        await wait_until_gone(paths)


async def test_a_missing_engine_is_started_in_a_session_of_its_own(home: Paths) -> None:
    assert await ensure_engine(home, Path("config"), PROGRAM) == "started"
    found = holder(home)
    assert found is not None
    pid = found.pid
    assert os.getsid(pid) == pid != os.getsid(0)


async def test_a_running_engine_is_attached_to(home: Paths) -> None:
    await ensure_engine(home, Path("config"), PROGRAM)
    first = holder(home)
    assert await ensure_engine(home, Path("config"), PROGRAM) == "attached"
    assert holder(home) == first


async def test_two_who_start_at_once_share_one_engine(home: Paths) -> None:
    outcomes = await asyncio.gather(*(ensure_engine(home, Path("config"), PROGRAM) for _ in range(2)))
    assert sorted(outcomes) == ["attached", "started"]


async def test_a_refused_configuration_reaches_the_starter_in_its_own_words(home: Paths) -> None:
    with pytest.raises(StartFailed, match=r"memory_fraction is 1\.4"):
        await ensure_engine(home, Path("refused"), PROGRAM)


async def test_a_crash_at_start_reaches_the_starter_as_the_end_of_the_log(home: Paths) -> None:
    home.log.write_text("what an engine said yesterday\n")
    with pytest.raises(StartFailed, match="no module named torch") as failure:
        await ensure_engine(home, Path("crashes"), PROGRAM)
    assert str(home.log) in str(failure.value)
    assert "yesterday" not in str(failure.value)


async def test_a_stopped_engine_is_gone_when_its_lock_is_free(home: Paths) -> None:
    await ensure_engine(home, Path("config"), PROGRAM)
    await (await connect(home)).stop()
    await wait_until_gone(home)
    assert holder(home) is None
    assert not home.socket.exists()
