"""The link: newest snapshot only, records in order, reconnecting by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from citadel_tui.link import FIRST_PAUSE_S, LONGEST_PAUSE_S, Link
from citadel_tui.words.alerts import KEPT_RECORDS
from engine.api import EngineUnreachable, Hello
from engine.core.commands import Load, Submission
from engine.core.records import Notice
from tests.fleet_snapshots import ScriptedFleet
from tests.scripted_engine import ScriptedEngine
from tests.tui.consoles import NOON_S, Line


class Silent(ScriptedEngine):
    """One whose signs of life stop when the test says so."""

    heard_ago_s = 0.0

    @property
    def silent_s(self) -> float:
        return self.heard_ago_s


class Restarted(ScriptedEngine):
    """One that has had as many lives as the test says."""

    lives = 1

    async def hello(self) -> Hello:
        hello = await super().hello()
        return replace(hello, pid=4243, started_at_s=NOON_S + 9) if self.lives > 1 else hello


class RestartedService(ScriptedFleet):
    """A fleet's, that was started again while its boxes' engines went on."""

    lives = 1

    async def hello(self) -> Hello:
        hello = replace(await super().hello(), boxes_since_s=NOON_S - 600)
        return replace(hello, pid=4243, started_at_s=NOON_S + 9) if self.lives > 1 else hello


class Steady:
    """A steady clock that passes when the test says so."""

    now_s = 500.0

    def __call__(self) -> float:
        return self.now_s


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
async def running(
    line: Line, pauses: Pauses, steady: Callable[[], float] = lambda: 0.0, wall: Callable[[], float] = lambda: NOON_S
) -> AsyncIterator[Link]:
    link = Link(line.connect, wall, read_only=False, sleep=pauses.sleep, monotonic=steady)
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


async def test_what_is_shown_is_stale_from_three_seconds_after_the_last_sign_of_life_and_as_old_as_that() -> None:
    engine, steady = Silent(), Steady()
    async with running(Line(engine), Pauses(), steady) as link:
        await until(link, lambda: link.scene().snapshot)
        engine.heard_ago_s = 2.9
        assert not link.scene().stale
        engine.heard_ago_s = 3.0
        scene = link.scene()
        assert scene.stale
        assert scene.lost is None
        assert scene.silent_s == 3.0
        engine.heard_ago_s = 0.2
        assert not link.scene().stale


async def test_a_line_that_is_lost_later_is_as_old_as_its_last_sign_of_life_whatever_the_wall_clock_does() -> None:
    engine, steady, pauses, wall = Silent(), Steady(), Pauses(), [NOON_S]
    line = Line(engine)
    async with running(line, pauses, steady, lambda: wall[0]) as link:
        await until(link, lambda: link.scene().snapshot)
        steady.now_s += 12
        engine.heard_ago_s = 12.0
        wall[0] += 86_400
        line.up = False
        await engine.stop()
        await until(link, lambda: link.scene().lost)
        assert link.scene().silent_s == 12.0
        steady.now_s += 5
        await pauses.end()
        await pauses.begun.wait()
        assert link.scene().silent_s == 17.0


async def test_what_went_with_an_engine_in_whose_place_another_comes_is_told_with_both_times() -> None:
    engine, pauses = Restarted(), Pauses()
    engine.hold()
    async with running(Line(engine), pauses) as link:
        await until(link, lambda: link.scene().snapshot)
        loading = asyncio.create_task(engine.submit(Submission("1", Load("e5-small"))))
        await until(link, lambda: link.scene().jobs_of("e5-small"))
        await engine.stop()
        await until(link, lambda: link.scene().lost)
        assert link.scene().gone is None
        engine.lives, engine.stopped = 2, False
        await pauses.end()
        await until(link, lambda: not link.scene().lost)
        gone = link.scene().gone
        assert gone is not None
        assert gone.text == "the engine (process 4242) went, and with it load e5-small (copy)"
        assert (gone.at_s, gone.until_s) == (NOON_S, NOON_S + 9)
        engine.release()
        await loading


async def test_a_fleets_service_that_another_one_follows_is_no_engine_that_went() -> None:
    fleet, pauses = RestartedService(), Pauses()
    fleet.add_notice("box1: before")
    async with running(Line(fleet), pauses) as link:
        await until(link, lambda: link.scene().snapshot)
        link.remember()
        await fleet.stop()
        await until(link, lambda: link.scene().lost)
        fleet.lives, fleet.stopped = 2, False
        fleet.add_notice("box1: meanwhile")
        await pauses.end()
        await until(link, lambda: not link.scene().lost)
        scene = link.scene()
        assert scene.gone is None
        assert scene.hello is not None
        assert scene.hello.pid == 4243
        assert [getattr(record.entry, "text", "") for record in scene.records] == ["box1: before", "box1: meanwhile"]
        assert not scene.past.gaps
        assert [edge.kind for edge in scene.past.edges].count("start") <= 1


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
