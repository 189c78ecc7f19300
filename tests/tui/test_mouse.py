"""The mouse: click selects, double click opens, the wheel scrolls, titles sort, and the keys at the bottom can be clicked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.events import MouseScrollDown

from citadel_tui.cli.parser import parse
from citadel_tui.widgets.bars import DeviceBars
from citadel_tui.widgets.choices import ChoiceBar
from citadel_tui.widgets.lists import ModelTable, SwitchLog
from citadel_tui.widgets.rows import RowList
from citadel_tui.widgets.strips import FooterKeys
from engine.core.commands import Evict, Load
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.tui.busy_engines import busy_engine, with_models
from tests.tui.consoles import Console, open_console


@asynccontextmanager
async def laid_out(engine: ScriptedEngine) -> AsyncIterator[Console]:
    """A console whose rows are where they will stay."""
    async with open_console(engine) as console:
        await console.until(lambda: console.app.screen.query_one(ModelTable).region.height >= 6)
        await console.until(lambda: console.app.screen.query_one(FooterKeys).region.bottom == 24)
        yield console


async def click_word(console: Console, widget: type[FooterKeys | ChoiceBar[Any]], word: str) -> None:
    """Clicks where the widget shows `word`."""
    view = console.app.screen.query_one(widget)
    row, line = next((row, line) for row, line in enumerate(view.plain.split("\n")) if word in line)
    await console.pilot.click(widget, offset=(line.index(word), row))


async def test_a_click_selects_and_a_double_click_opens() -> None:
    async with laid_out(await busy_engine()) as console:
        await console.pilot.click(ModelTable, offset=(5, 4))
        await console.until(lambda: console.selected == "bge-base")
        await console.pilot.click(ModelTable, offset=(5, 5), times=2)
        await console.sees("480 MiB estimated")


async def test_a_double_click_opens_a_line_of_the_log_and_a_devices_row() -> None:
    async with laid_out(await busy_engine()) as console:
        await console.pilot.click(SwitchLog, offset=(5, 3), times=2)
        await console.sees("Phases")
        await console.press("escape")
        await console.pilot.click(DeviceBars, offset=(20, 1), times=2)
        await console.sees("all-MiniLM-L6-v2, ready")
        await console.press("escape")
        await console.pilot.click(DeviceBars, offset=(20, 3), times=2)
        await console.sees("Kept, the first to go on top")


async def test_a_click_on_a_title_sorts_by_its_column_and_a_second_one_turns_that_around() -> None:
    async with laid_out(await busy_engine()) as console:
        at = console.rows[1].index("MiB")
        await console.pilot.click(ModelTable, offset=(at, 1))
        await console.sees("by size")
        await console.pilot.click(ModelTable, offset=(at, 1))
        await console.sees("by size, reversed")
        await console.pilot.click(ModelTable, offset=(3, 1))
        await console.until(lambda: "MODEL↓" in console.rows[1])


async def test_a_click_below_the_rows_is_nothing() -> None:
    async with laid_out(await busy_engine()) as console:
        await console.pilot.click(ModelTable, offset=(3, 0))
        await console.pilot.click(DeviceBars, offset=(3, 2))
        assert console.selected == "all-MiniLM-L6-v2"
        assert len(console.app.screen_stack) == 1


async def test_the_wheel_scrolls_and_leaves_the_cursor_on_its_model() -> None:
    async with laid_out(ScriptedEngine(with_models(scripted_state(), 60))) as console:
        table = console.app.screen.query_one(ModelTable)
        await console.sees("↑0")
        table.post_message(MouseScrollDown(table, 5, 5, 0, 1, 0, False, False, False))
        await console.until(lambda: table.scroll_offset.y > 0)
        assert console.selected == "all-MiniLM-L6-v2"
        assert console.rows[1].startswith("  MODEL")


async def test_the_keys_at_the_bottom_can_be_clicked() -> None:
    engine = await busy_engine()
    async with laid_out(engine) as console:
        await console.select("phi-3-mini")
        await click_word(console, FooterKeys, "Evict")
        await console.until(lambda: engine.submissions[-1].command == Evict("phi-3-mini"))


async def test_the_answers_of_a_dialog_can_be_clicked() -> None:
    engine = await busy_engine()
    async with laid_out(engine) as console:
        await console.select("bge-base")
        await console.press("l", "down", "enter")
        await console.sees("[Cancel]")
        await click_word(console, ChoiceBar, "Do it")
        await console.until(lambda: engine.submissions[-1].command == Load("bge-base", "gpu0"))


async def test_a_double_click_picks_from_a_list() -> None:
    engine = await busy_engine()
    async with laid_out(engine) as console:
        await console.select("bge-base")
        await console.press("l")
        await console.sees("on which device?")
        await console.pilot.click(RowList, offset=(4, 3), times=2)
        await console.until(lambda: engine.submissions[-1].command == Load("bge-base", "cpu"))


def test_the_mouse_can_be_left_to_the_terminal() -> None:
    assert parse([]).arguments.mouse
    assert not parse(["--no-mouse"]).arguments.mouse
