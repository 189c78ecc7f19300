"""A session that was recorded from a scripted engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from citadel_tui.session.file import Session, read_session, record
from engine.core.commands import Command, Evict, Load, Submission
from tests.scripted_engine import ScriptedEngine

BEGAN_S = 1_000.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A load at 10 s and an eviction at 20 s, with a snapshot behind each."""
    path, engine, clock = tmp_path / "session.gz", ScriptedEngine(), Clock()
    clock.now_s = engine.now_s = BEGAN_S
    written = asyncio.Event()

    recording = asyncio.create_task(record(engine, path, 0.0, clock, lambda _: written.set()))
    await written.wait()
    commands: tuple[Command, ...] = (Load("bge-base", "gpu0"), Evict("bge-base"))
    for number, command in enumerate(commands):
        clock.now_s += 10
        engine.now_s = clock.now_s
        written.clear()
        await engine.submit(Submission(f"s{number}", command))
        await written.wait()
        await asyncio.sleep(0)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    return path


@pytest.fixture
async def session(file: Path) -> Session:
    return await read_session(file)
