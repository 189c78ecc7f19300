"""Questions come one at a time, over nothing else, and each is answered once; of each kind of page there is one at most."""

from __future__ import annotations

import pytest

from citadel_tui import type_ahead
from citadel_tui.actions import BY_ID
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.screens.pages import Help, Preview
from citadel_tui.widgets.choices import ChoiceBar
from citadel_tui.widgets.page import Page
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, open_console
from tests.tui.test_typing_ahead import Thoughtful, thoughtful_engine


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys don't wait long for the engine, so that others come between a key and its question."""
    monkeypatch.setattr(type_ahead, "PATIENCE_S", 0.01)


async def ask_to_load(console: Console, engine: Thoughtful, *keys: str) -> None:
    """Asks for bge-base in another's place, of which a question will come."""
    asked = len(engine.asked_for)
    await console.select("bge-base")
    await console.press("l", *keys, "enter")
    await console.until(lambda: len(engine.asked_for) > asked)


async def test_a_question_waits_until_what_is_open_is_closed() -> None:
    engine = await thoughtful_engine()
    async with open_console(engine) as console:
        await ask_to_load(console, engine, "down")
        await console.press("question_mark")
        await console.until(lambda: isinstance(console.app.screen, Help))
        engine.may_answer.set()
        await console.pilot.pause()
        assert isinstance(console.app.screen, Help)
        await console.press("escape")
        await console.until(lambda: isinstance(console.app.screen, Preview))


async def test_of_two_questions_the_second_waits_for_the_answer_to_the_first() -> None:
    engine = await thoughtful_engine()
    async with open_console(engine) as console:
        await ask_to_load(console, engine, "down")
        await ask_to_load(console, engine, "down")
        engine.may_answer.set()
        for _ in range(2):
            await console.until(lambda: isinstance(console.app.screen, Preview))
            assert len(console.app.screen_stack) == 2
            await console.press("escape")
        await console.until(lambda: len(console.app.screen_stack) == 1)


async def test_a_double_click_answers_once_and_closes_nothing_else() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        before = len(engine.submissions)
        await console.press("l", "down", "enter")
        await console.sees("[Cancel]")
        bar = console.app.screen.query_one(ChoiceBar)
        bar.post_message(ChoiceBar.Taken(0))
        bar.post_message(ChoiceBar.Taken(1))
        await console.until(lambda: len(console.app.screen_stack) == 1)
        await console.press("question_mark")
        await console.until(lambda: isinstance(console.app.screen, Help))
        assert len(engine.submissions) == before


async def test_a_page_that_is_asked_for_twice_is_opened_once() -> None:
    async with open_console(await busy_engine()) as console:
        dashboard = console.app.screen
        for _ in range(2):
            dashboard.post_message(Dashboard.Asked(BY_ID["help"], ()))
        await console.until(lambda: isinstance(console.app.screen, Help))
        await console.press("escape")
        await console.until(lambda: console.app.screen is dashboard)


async def test_home_and_end_lead_to_the_ends_of_a_long_page() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("question_mark")
        await console.settles()
        first = console.painted
        await console.press("end")
        await console.settles()
        page = console.app.screen.query_one(".body", Page)
        assert page.scroll_offset.y == page.max_scroll_y > 0
        await console.press("home")
        await console.settles()
        assert console.painted == first
