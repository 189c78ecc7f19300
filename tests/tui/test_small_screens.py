"""A screen that is too small says so, and no key acts on what nobody sees."""

from __future__ import annotations

import pytest
from textual.events import MouseScrollDown

from citadel_tui.screens.pages import Help
from citadel_tui.viewmodel.glyphs import ASCII
from citadel_tui.widgets.lists import ModelTable
from citadel_tui.widgets.too_small import TooSmall
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.tui.busy_engines import busy_engine, with_models
from tests.tui.consoles import Console, open_console


def covers(console: Console) -> bool:
    """Whether it lies over everything there is."""
    view = console.app.screen.query_one(TooSmall)
    return view.display and view.region == console.app.screen.region


@pytest.mark.parametrize("size", [(59, 40), (200, 11), (1, 1), (20, 3)])
@pytest.mark.parametrize(
    "keys", [(), ("question_mark",), ("colon",), ("slash",)], ids=["none", "page", "palette", "find"]
)
async def test_below_sixty_columns_and_twelve_rows_it_says_that_it_is_too_small(
    size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    async with open_console(await busy_engine()) as console:
        await console.press(*keys)
        await console.pilot.resize_terminal(*size)
        await console.until(lambda: covers(console))
        told = console.app.screen.query_one(TooSmall).plain.replace("\n", "")
        assert f"{size[0]}×{size[1]}istoosmall" in told.replace(" ", "")
        await console.pilot.resize_terminal(60, 12)
        await console.until(lambda: not console.app.screen.query_one(TooSmall).display)


async def test_keys_do_nothing_there_and_what_was_open_is_there_again_when_it_has_grown() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        before = len(engine.submissions)
        await console.press("question_mark")
        await console.pilot.resize_terminal(40, 10)
        await console.until(lambda: covers(console))
        await console.press("escape", "e", "l", "enter")
        await console.pilot.resize_terminal(80, 24)
        await console.until(lambda: not console.app.screen.query_one(TooSmall).display)
        assert isinstance(console.app.screen, Help)
        assert len(engine.submissions) == before


async def test_leaving_is_possible_at_any_size() -> None:
    async with open_console(await busy_engine()) as console:
        await console.pilot.resize_terminal(10, 2)
        await console.press("ctrl+c")
        await console.until(lambda: console.app.return_code == 0)


def test_it_is_said_in_ascii_where_that_is_all_there_is() -> None:
    assert ASCII.text("40 × 10").isascii()


async def test_a_model_whose_row_is_scrolled_away_is_not_acted_on() -> None:
    engine = ScriptedEngine(with_models(scripted_state(), 60))
    async with open_console(engine) as console:
        table = console.app.screen.query_one(ModelTable)
        await console.sees("↑0")
        table.post_message(MouseScrollDown(table, 5, 5, 0, 1, 0, False, False, False))
        await console.until(lambda: table.scroll_offset.y > 0)
        await console.press("l")
        await console.sees("Load: no model is selected; a verb is for a row that is on the screen")
        await console.press("j")
        await console.until(lambda: table.selection)


async def test_on_the_smallest_screen_the_row_under_the_cursor_stays_and_verbs_act_on_it() -> None:
    async with open_console(await busy_engine(), size=(60, 20)) as console:
        await console.select("bge-base")
        await console.press("g")
        await console.pilot.resize_terminal(60, 12)
        table = console.app.screen.query_one(ModelTable)
        await console.until(lambda: table.size.height < 8 and bool(table.in_view))
        assert table.selection == ("bge-base",)


async def test_where_the_filter_leaves_no_model_no_verb_acts_on_the_marked_ones_either() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        before = len(engine.submissions)
        await console.press("space", "space", "slash", *"nothing", "enter", "e")
        await console.sees("Evict: no model is selected; a verb is for a row that is on the screen")
        assert len(engine.submissions) == before


async def test_the_cursors_row_stays_in_view_when_the_screen_gets_lower_and_when_rows_come_above_it() -> None:
    engine = ScriptedEngine(with_models(scripted_state(), 30))
    async with open_console(engine, size=(80, 40)) as console:
        table = console.app.screen.query_one(ModelTable)
        await console.press(*["j"] * 12)
        selected = table.selection
        await console.pilot.resize_terminal(80, 20)
        await console.until(lambda: table.selection == selected)
        await console.press("s")
        await console.until(lambda: table.selection == selected)
