"""The page of requests under way: who asks for what, and the end of one of them after a question."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import UNICODE
from engine.core.insight.request_figures import Asker, RequestUnderWay
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Line, open_console

WRITER = RequestUnderWay(3, Asker(key="app"), "phi-3-mini", "generation", 200, 12.0, "gpu0", 10.0, 41)
SCRIPT = Asker(pid=4242, process="nightly-reindexing.py", user="ann")
ROWS = RequestUnderWay(7, SCRIPT, "all-MiniLM-L6-v2", "embedding", 8, 2.0)


async def asked() -> ScriptedEngine:
    engine = await busy_engine()
    engine.under_way = (WRITER, ROWS)
    return engine


async def test_each_request_is_a_row_with_who_asks_where_it_is_and_how_far_it_has_come() -> None:
    async with open_console(await asked()) as console:
        await console.press("i")
        await console.sees("2 requests under way")
        titles, writer, rows = (line.strip(UNICODE.cursor).split() for line in console.text.splitlines()[2:5])
        assert titles == ["N", "WHO", "MODEL", "WHERE", "AGE", "SO", "FAR"]
        assert writer == [
            "3",
            "key",
            "app",
            "phi-3-mini",
            UNICODE.synthetic,
            "gpu0",
            "12s",
            "41",
            "of",
            "200",
            "tokens",
        ]
        assert rows[-4:] == ["waiting", "2s", "8", "rows"]


async def test_a_name_that_is_too_long_is_cut_in_its_middle() -> None:
    async with open_console(await asked()) as console:
        await console.press("i")
        await console.sees("2 requests under way")
        assert "(ann)" in console.text
        assert "nightly-" in console.text
        assert "nightly-reindexing.py" not in console.text


async def test_who_asks_is_cut_only_where_no_other_column_has_cells_to_spare() -> None:
    engine = await busy_engine()
    asker = Asker(pid=122281, process="citadel", user="root")
    engine.under_way = (RequestUnderWay(1, asker, "phi-3-mini", "generation", 220, 2.0, "cpu", 1.0, 17),)
    async with open_console(engine) as console:
        await console.press("i")
        await console.sees("citadel 122281 (root)")


async def test_the_titles_are_whole_where_nobody_asks() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("i")
        await console.sees("no request is under way")
        await console.sees("SO FAR")


async def test_the_page_follows_what_comes_and_ends() -> None:
    engine = await asked()
    async with open_console(engine) as console:
        await console.press("i")
        await console.sees("41 of 200 tokens")
        engine.under_way = (replace(WRITER, parts=97),)
        await console.sees("97 of 200 tokens")
        assert "1 request under way" in console.text


async def test_x_cancels_a_request_only_after_saying_so() -> None:
    engine = await asked()
    async with open_console(engine) as console:
        await console.press("i")
        await console.sees("2 requests under way")
        await console.press("down", "x")
        await console.sees("Cancel request 7?")
        assert "asked by nightly-reindexing.py 4242 (ann)" in " ".join(console.text.split())
        await console.press("enter")  # the safe answer is chosen
        await console.sees("2 requests under way")
        assert engine.cancelled == []
        await console.press("x")
        await console.sees("Cancel request 7?")
        await console.press("y")
        await console.sees("cancelled: request 7")
        await console.sees("1 request under way")
        assert engine.cancelled == [7]


async def test_a_request_that_has_ended_meanwhile_is_said_to_have() -> None:
    engine = await asked()
    async with open_console(engine) as console:
        await console.press("i")
        await console.sees("2 requests under way")
        await console.press("x")
        await console.sees("Cancel request 3?")
        engine.under_way = ()
        await console.press("y")
        await console.sees("no request under way has the number 3")


async def test_escape_closes_the_page_and_cancels_nothing() -> None:
    engine = await asked()
    async with open_console(engine) as console:
        await console.press("i")
        await console.sees("2 requests under way")
        await console.press("escape")
        await console.until(lambda: len(console.app.screen_stack) == 1)
        assert engine.cancelled == []


async def test_who_only_watches_cancels_nothing() -> None:
    engine = await asked()
    async with open_console(engine, read_only=True) as console:
        await console.press("i")
        await console.sees("this console is read-only")
        await console.press("x", "enter")
        await console.pilot.pause()
        assert "Cancel request" not in console.text
        assert engine.cancelled == []


async def test_without_a_line_the_rows_stay_and_the_page_says_that_they_may_be_over() -> None:
    engine = await asked()
    line = Line(engine)
    async with open_console(engine, line=line) as console:
        await console.press("i")
        await console.sees("2 requests under way")
        line.up = False
        await engine.stop()
        await console.until(lambda: "engine" in console.text.splitlines()[1])
        assert "key app" in console.text
