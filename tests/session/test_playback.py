"""A session that was recorded, played back: at its own pace, faster, paused, forward and back."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from citadel_tui.link import StartedOver
from citadel_tui.session.file import Session, read_session
from citadel_tui.session.playback import Playback, RecordedEngine
from engine.api import EngineError, Event, ReadOnly, Recorded, Updated
from engine.core.commands import Load, Submission
from tests.session.conftest import Clock


def where(event: Event) -> list[str]:
    assert isinstance(event, Updated)
    return [f"{r.model} {r.device}" for r in event.snapshot.state.residents]


async def next_update(events: AsyncIterator[Event]) -> list[str]:
    async for event in events:
        if isinstance(event, Updated):
            return where(event)
    raise AssertionError("the events ended")


async def test_time_shows_what_had_come_by_then(session: Session) -> None:
    clock = Clock()
    playback = Playback(session, clock)
    engine = RecordedEngine(playback)

    assert (await engine.snapshot()).state.residents == ()
    clock.now_s = 11.0
    assert [r.model for r in (await engine.snapshot()).state.residents] == ["bge-base"]
    clock.now_s = 1_000_000.0
    assert (await engine.snapshot()).state.residents == ()
    assert playback.now_s() == playback.ends_s


async def test_seeking_forward_tells_what_was_passed(session: Session) -> None:
    playback = Playback(session, Clock())
    async with aclosing(RecordedEngine(playback).events()) as events:
        assert await next_update(events) == []
        playback.pause()
        playback.seek(11.0)
        assert await next_update(events) == ["bge-base gpu0"]
        assert isinstance(await anext(events), Recorded)


async def test_going_back_starts_over(session: Session) -> None:
    playback = Playback(session, Clock())
    playback.seek(11.0)
    async with aclosing(RecordedEngine(playback).events()) as events:
        assert await next_update(events) == ["bge-base gpu0"]
        playback.seek(-5.0)
        with pytest.raises(StartedOver):
            [event async for event in events]
    assert await RecordedEngine(playback).records() == ()


async def test_a_faster_session_is_further_on_after_the_same_time(session: Session) -> None:
    clock = Clock()
    playback = Playback(session, clock)
    playback.faster()
    clock.now_s = 5.0
    assert playback.now_s() == pytest.approx(playback.began_s + 10)
    playback.pause()
    clock.now_s = 500.0
    assert playback.now_s() == pytest.approx(playback.began_s + 10)


async def test_nothing_can_be_changed_in_the_past(session: Session) -> None:
    engine = RecordedEngine(Playback(session, Clock()))
    with pytest.raises(ReadOnly, match="recorded session"):
        await engine.submit(Submission("s", Load("bge-base")))


async def test_a_recording_that_was_killed_is_played_up_to_its_torn_end(file: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.gz"
    await asyncio.to_thread(lambda: torn.write_bytes(file.read_bytes()[:-40]))

    session = await read_session(torn)

    assert session.torn
    assert session.times_s


@pytest.mark.parametrize(
    "content",
    [b"not gzip at all", gzip.compress(b'{"some": "json"}\n'), gzip.compress(b"")],
    ids=["no gzip", "another file", "nothing"],  # gzip notes the time, and a test's name must not change with it
)
async def test_a_file_that_is_no_session_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.gz"
    await asyncio.to_thread(path.write_bytes, content)
    with pytest.raises(EngineError, match=r"other\.gz"):
        await read_session(path)
