"""The timeline in the console: its page is steered by keys, a large dashboard has it below, and the recorded past is read in a
thread when somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from citadel_tui.app import CitadelApp
from citadel_tui.screens.timeline import TimelinePage
from citadel_tui.theme import Look
from citadel_tui.timeline.chronicle import Chronicle
from citadel_tui.viewmodel import timeline as viewmodel
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.widgets import timeline as widgets
from citadel_tui.widgets.timeline import TimelinePanel
from engine.core.commands import Load, Submission
from engine.core.records import Notice, Record
from tests.scripted_engine import ScriptedEngine
from tests.timeline.night import BEGAN_S, Night
from tests.timeline.night_engine import NOW, night_engine, whole_night
from tests.tui.consoles import Console, Line


@asynccontextmanager
async def over_the_night(
    recall: Callable[[], Chronicle] | None = None,
    *,
    size: tuple[int, int] = (80, 24),
    engine: ScriptedEngine | None = None,
    line: Line | None = None,
    now: Callable[[], float] = lambda: BEGAN_S + NOW,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Console]:
    found = line or Line(engine or night_engine())
    app = CitadelApp(
        found.connect, Look(UNICODE, "citadel"), read_only=False, now=now, recall=recall, monotonic=monotonic
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        console = Console(pilot, app)
        await console.sees("live")
        yield console


def recorded() -> Chronicle:
    return whole_night().chronicle


def page(console: Console) -> TimelinePage:
    assert isinstance(console.app.screen, TimelinePage)
    return console.app.screen


async def test_the_page_knows_what_is_recorded_and_reads_it_beside_the_loop() -> None:
    threads = []

    def recall() -> Chronicle:
        threads.append(threading.current_thread())
        return recorded()

    async with over_the_night(recall) as console:
        await console.press("w")
        await console.sees("×░bge-base░")
        await console.press("escape", "w")
        await console.sees("×░bge-base░")
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_without_files_the_page_shows_what_the_engines_records_tell() -> None:
    async with over_the_night() as console:
        await console.press("w")
        await console.sees("×━bge-base━")


async def test_another_engines_files_are_left_alone() -> None:
    def others() -> Chronicle:
        night = Night()
        night.load(60, "e5-small", "gpu0")
        night.write(Notice(BEGAN_S + 1300, "info", "somebody else's"))
        return night.chronicle

    async with over_the_night(others) as console:
        await console.press("w")
        await console.sees("×━bge-base━")
        await console.until(lambda: not console.app.workers or console.app.link.scene().past.last)
        assert console.app.link.scene().past.last == Record(len(whole_night().records), whole_night().records[-1].entry)


async def test_files_that_cannot_be_read_are_said_and_the_timeline_begins_with_the_console() -> None:
    def broken() -> Chronicle:
        raise PermissionError(13, "Permission denied", "/state/journal")

    async with over_the_night(broken) as console:
        await console.press("w", "escape")
        await console.sees("/state/journal can't be read: Permission denied; the timeline begins here")


async def test_edges_are_picked_with_the_arrows_and_enter_opens_the_switch() -> None:
    async with over_the_night(recorded) as console:
        await console.press("w")
        await console.press("left")
        await console.sees("08:19:10 phi-3-mini → gpu1 × bge-base")
        await console.press("left", "left", "right")
        await console.sees("08:18:50 bge-base → gpu1 × phi-3-mini")
        await console.press("enter")
        await console.sees("Phases")
        await console.press("escape")
        await console.sees("08:18:50 bge-base → gpu1 × phi-3-mini")
        await console.press("end")
        await console.until(lambda: "08:18:50" not in console.text)


async def test_a_pick_beyond_the_edge_of_the_screen_scrolls_there_and_end_comes_back() -> None:
    async with over_the_night(recorded) as console:
        await console.press("w", "plus", "plus", "plus", "plus")
        await console.sees("a column is 1 s")
        assert page(console).view.last is None
        await console.press(*("left",) * 12)
        await console.sees("08:01:20 e5-small → gpu0")
        await console.sees("e5-small")
        assert page(console).view.last is not None
        await console.press("end")
        assert page(console).view.last is None


async def test_zooming_scrolling_and_the_ends_stay_within_what_there_is() -> None:
    async with over_the_night(recorded) as console:
        await console.press("w", *("minus",) * 14)
        await console.sees("a column is 1 h")
        await console.press(*("plus",) * 14)
        await console.sees("a column is 1 s")
        await console.press("pageup")
        assert page(console).view.last == int(BEGAN_S + NOW) - page(console)._count // 2
        await console.press("pagedown")
        assert page(console).view.last is None
        await console.press("home")
        await console.sees("TIMELINE 08:00:00 to")
        await console.press("pageup", "pageup", "pageup")
        assert page(console).view.last == int(BEGAN_S)


async def test_what_happens_now_comes_by_itself() -> None:
    engine = night_engine()
    async with over_the_night(recorded, engine=engine) as console:
        await console.press("w")
        await console.sees("×░bge-base░")
        engine.hold()
        engine.now_s = BEGAN_S + NOW - 2
        load = console.app.run_worker(engine.submit(Submission("now", Load("bge-base", "gpu0"))))
        await console.sees("╌")
        engine.release()
        await load.wait()
        await console.press("left")
        await console.sees("bge-base → gpu0")
    assert load.error is None


async def test_a_lost_line_leaves_what_comes_blank_and_the_past_as_it_was() -> None:
    line = Line(night_engine())
    now = [BEGAN_S + NOW]
    async with over_the_night(recorded, line=line, now=lambda: now[0], monotonic=lambda: now[0]) as console:
        await console.press("w")
        await console.sees("×░bge-base░")
        line.up = False
        assert isinstance(line.engine, ScriptedEngine)
        await line.engine.stop()
        await console.until(lambda: console.app.link.scene().lost)
        now[0] += 100
        console.app._show()
        lanes = console.app.screen.query_one(widgets.Lanes)
        await console.until(lambda: all(row.endswith("     ") for row in texts(lanes)[1:]))
        assert "×░bge-base░" in console.text


def texts(lanes: widgets.Lanes) -> list[str]:
    return ["".join(span.text for span in line) for line in lanes.lines]


@pytest.mark.parametrize(
    ("size", "seen"), [((140, 40), True), ((160, 50), True), ((139, 50), False), ((160, 39), False)]
)
async def test_a_large_dashboard_has_it_below(size: tuple[int, int], seen: bool) -> None:
    async with over_the_night(recorded, size=size) as console:
        panel = console.app.screen.query_one(TimelinePanel)
        await console.until(lambda: panel.display is seen)
        if seen:
            await console.sees("×░bge-base░")
            assert panel.region.height == len(panel.lines) == 5
            assert panel.region.bottom <= size[1] - 2


async def test_a_dashboard_that_shrinks_and_grows_shows_it_again() -> None:
    async with over_the_night(recorded, size=(160, 50)) as console:
        await console.sees("TIMELINE")
        await console.pilot.resize_terminal(80, 24)
        await console.until(lambda: not console.app.screen.query_one(TimelinePanel).display)
        await console.pilot.resize_terminal(160, 50)
        panel = console.app.screen.query_one(TimelinePanel)
        await console.until(lambda: panel.region.height == 5)


async def test_it_is_worked_out_once_a_column_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def counted(*given: object, **named: object) -> tuple[object, ...]:
        drawn.append(given)
        return viewmodel.timeline_lines(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(widgets, "timeline_lines", counted)
    now = [BEGAN_S + NOW]
    engine = night_engine()
    async with over_the_night(recorded, size=(160, 50), engine=engine, now=lambda: now[0]) as console:
        await console.sees("×░bge-base░")
        drawn.clear()
        for second in range(60):
            now[0] = BEGAN_S + NOW + second
            engine.now_s = now[0]
            shown = await engine.snapshot()
            console.app.link._snapshot = replace(shown, at_s=now[0])
            console.app._show()
    assert len(drawn) == 3
