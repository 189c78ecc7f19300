"""Who is resident and pinned, kept by itself: the newest, on the disk, and as soon as there is room again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from engine.api import Done, Failed
from engine.clock import SystemClock
from engine.core.commands import Load, SetPin
from engine.core.plans import PinStep, Plan
from engine.core.records import Residency
from engine.recording.residency import AGAIN_S, ResidencyFile

OLDER, NEWER = Residency(1.0, (("a", "gpu0"),), {}), Residency(2.0, (("a", "gpu0"), ("b", "gpu1")), {"b": None})


class HastyClock(SystemClock):
    """Time between two attempts passes at once."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0 if seconds == AGAIN_S else seconds)


@asynccontextmanager
async def written(path: Path, told: list[str] | None = None) -> AsyncIterator[ResidencyFile]:
    """A file that is written while inside."""
    file = ResidencyFile(path, HastyClock(), (told if told is not None else []).append)
    running = asyncio.create_task(file.run())
    try:
        yield file
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def read(path: Path) -> Residency | None:
    return ResidencyFile(path, SystemClock(), lambda _: None).read().residency


async def test_the_newest_is_there_once_it_is_said_to_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "residency.json"
    async with written(path) as file:
        file.put(OLDER)
        file.put(NEWER)
        assert await file.kept() == ""
        assert read(path) == NEWER
        file.put(OLDER)
        assert await file.kept() == ""
    assert read(path) == OLDER
    assert os.listdir(tmp_path) == [path.name]


async def test_what_found_no_room_is_written_when_there_is_room_again_and_told_of_once(tmp_path: Path) -> None:
    path, told = tmp_path / "folder" / "residency.json", list[str]()
    async with written(path, told) as file:
        file.put(OLDER)
        assert "can't be written: No such file or directory" in await file.kept()
        file.put(NEWER)
        assert await file.kept()
        path.parent.mkdir()
        while await file.kept():
            pass
        assert read(path) == NEWER
    assert len(told) == 1
    assert "it is tried again until there is room" in told[0]


async def test_a_pin_is_answered_as_done_when_it_is_on_the_disk_and_not_before(tmp_path: Path) -> None:
    pinned = Done(Plan(SetPin("a"), (PinStep("a"),), ()))
    async with written(tmp_path / "residency.json") as file:
        file.put(NEWER)
        assert await file.durable(pinned) == pinned
        assert read(tmp_path / "residency.json") == NEWER
    async with written(tmp_path / "gone" / "residency.json") as file:
        file.put(NEWER)
        answer = await file.durable(pinned)
        assert isinstance(answer, Failed)
        assert answer.holds
        assert "Make room" in answer.reason


async def test_nothing_else_waits_for_the_disk(tmp_path: Path) -> None:
    loaded = Done(Plan(Load("a"), (), ()))
    file = ResidencyFile(tmp_path / "residency.json", SystemClock(), lambda _: None)
    file.put(NEWER)
    assert await file.durable(loaded) == loaded  # nobody writes


async def test_whoever_waits_when_the_engine_breaks_hears_that_it_is_not_kept(tmp_path: Path) -> None:
    file = ResidencyFile(tmp_path / "residency.json", SystemClock(), lambda _: None)
    running = asyncio.create_task(file.run())
    await asyncio.sleep(0)
    file.put(NEWER)
    waiting = asyncio.create_task(file.kept())
    running.cancel()
    assert "the engine has ended" in await waiting


def test_without_a_file_nothing_is_known_and_it_is_said_that_there_was_none(tmp_path: Path) -> None:
    assert ResidencyFile(tmp_path / "residency.json", SystemClock(), lambda _: None).read() == (None, False, "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version": "\xff"}',
        b"[" * 100_000,
        b'{"version": 99, "residency": {"type": "residency", "at_s": 0, "residents": [], "pins": {}}}',
        bytes(range(99, 199)),
    ],
    ids=["empty", "torn", "no text", "deep", "another version", "noise"],
)
def test_a_damaged_file_is_put_aside_with_a_word(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "residency.json"
    path.write_bytes(content)

    kept = ResidencyFile(path, SystemClock(), lambda _: None).read()

    assert (kept.residency, kept.is_there) == (None, True)
    assert str(path) in kept.warning
    assert "nobody is loaded again and pins are the catalog's" in kept.warning
    assert (tmp_path / "residency.damaged").read_bytes() == content
