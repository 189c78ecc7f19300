"""What is typed in one burst, as a slow line delivers it: text goes where text is wanted, and never acts as keys."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, open_console


def burst(console: Console, keys: str) -> None:
    """All keys are there before the console looks at the first."""
    for character in keys:
        key = {"/": "slash", ":": "colon", "\r": "enter"}.get(character, character)
        console.app.post_message(events.Key(key, character))


async def test_what_is_typed_behind_the_find_key_is_looked_for() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        burst(console, "/bge")
        await console.until(lambda: console.app.query_one("#find", Input).value == "bge")
        assert len(console.app.screen_stack) == 1


async def test_what_is_typed_behind_the_palettes_key_is_looked_for_there() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        burst(console, ":rebal")
        await console.until(lambda: len(console.app.screen_stack) == 2)
        await console.until(lambda: console.app.screen.query_one(Input).value == "rebal")
        assert len(console.app.screen_stack) == 2


async def test_the_keys_that_open_a_line_to_type_in_are_text_within_the_line_that_finds() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        burst(console, "/state:ready")
        await console.until(lambda: console.app.query_one("#find", Input).value == "state:ready")
        assert len(console.app.screen_stack) == 1
