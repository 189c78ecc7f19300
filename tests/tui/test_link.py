"""The link: newest snapshot only, records in order, reconnecting by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from citadel_tui.link import FIRST_PAUSE_S, KEPT_RECORDS, LONGEST_PAUSE_S, Link
from engine.api import EngineUnreachable
from engine.core.records import Notice
from tests.scripted_engine import ScriptedEngine
from tests.tui.consoles import NOON_S, Line


class Pauses:
    """Sleeps that end when the test says so, and how long they would have been."""

    def __init__(self) -> None:
        self.lengths_s: list[float] = []
        self.over = asyncio.Event()
        self.begun = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.lengths_s.append(seconds)
        self.begun.set()
        await self.over.wait()
        self.over.clear()

    async def end(self) -> None:
        """Ends the pause under way and waits for the next one."""
        await self.begun.wait()
        self.begun.clear()
        self.over.set()


@asynccontextmanager
async def running(line: Line, pauses: Pauses) -> AsyncIterator[Link]:
    link = Link(line.connect, lambda: NOON_S, read_only=False, sleep=pauses.sleep)
    task = asyncio.create_task(link.run())
    yield link
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(link: Link, met: Callable[[], object]) -> None:
    while not met():
        await link.changed.wait()
        link.changed.clear()


async def test_the_scene_holds_the_newest_snapshot_and_every_record() -> None:
    engine = ScriptedEngine()
    async with running(Line(engine), Pauses()) as link:
        await until(link, lambda: link.scene().snapshot)
        engine.add_notice("one")
        engine.add_notice("two")
        await until(link, lambda: len(link.scene().records) == 2)
        assert [r.entry.text for r in link.scene().records if isinstance(r.entry, Notice)] == ["one", "two"]
        assert link.scene().snapshot == await engine.snapshot()


async def test_only_so_many_records_are_kept() -> None:
    engine = ScriptedEngine()
    for number in range(KEPT_RECORDS + 20):
        engine.add_notice(str(number))
    async with running(Line(engine), Pauses()) as link:
        await until(link, lambda: link.scene().snapshot)
        engine.add_notice("newest")
        await until(link, lambda: link.scene().records[-1].seq == KEPT_RECORDS + 21)
        assert len(link.scene().records) == KEPT_RECORDS


async def test_a_lost_line_keeps_the_last_snapshot_says_why_and_refuses_commands() -> None:
    engine = ScriptedEngine()
    async with running(Line(engine), Pauses()) as link:
        await until(link, lambda: link.scene().snapshot)
        await engine.stop()
        await until(link, lambda: link.scene().stale)
        scene = link.scene()
        assert scene.snapshot is not None
        assert scene.lost is not None
        assert scene.lost.why == "the engine was stopped"
        with pytest.raises(EngineUnreachable):
            _ = link.engine


async def test_it_reconnects_with_growing_pauses_and_starts_over_with_short_ones() -> None:
    line, pauses = Line(ScriptedEngine()), Pauses()
    line.up = False
    async with running(line, pauses) as link:
        for _ in range(7):
            await pauses.end()
        await pauses.begun.wait()
        assert pauses.lengths_s[:3] == [FIRST_PAUSE_S, FIRST_PAUSE_S * 2, FIRST_PAUSE_S * 4]
        assert max(pauses.lengths_s) == LONGEST_PAUSE_S
        line.up = True
        await pauses.end()
        await until(link, lambda: not link.scene().stale)
        assert line.attempts == 9
        await line.engine.stop()
        await pauses.begun.wait()
        assert pauses.lengths_s[-1] == FIRST_PAUSE_S


async def test_after_a_new_connection_no_record_is_shown_twice() -> None:
    engine, pauses = ScriptedEngine(), Pauses()
    line = Line(engine)
    engine.add_notice("before")
    async with running(line, pauses) as link:
        await until(link, lambda: link.scene().records)
        await engine.stop()
        await until(link, lambda: link.scene().stale)
        engine.stopped = False
        await pauses.end()
        await until(link, lambda: not link.scene().stale)
        assert [r.seq for r in link.scene().records] == [1]
