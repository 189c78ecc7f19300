"""What is typed in one burst, as a slow line delivers it: each key acts on what the one before it has opened, and text goes where
text is wanted."""

from __future__ import annotations

import asyncio

import pytest
from textual import events
from textual.widgets import Input

from citadel_tui import type_ahead
from citadel_tui.screens.pages import Alerts, Help, Preview
from engine.core.commands import Command, Evict, Load
from engine.core.plans import Plan, Refusal
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, open_console

KEYS = {
    "/": "slash",
    ":": "colon",
    "\r": "enter",
    "\x1b": "escape",
    "?": "question_mark",
    "!": "exclamation_mark",
    "↓": "down",
}


def burst(console: Console, keys: str) -> None:
    """All keys are there before the console looks at the first."""
    for character in keys:
        key = KEYS.get(character, character)
        console.app.post_message(events.Key(key, None if character == "↓" else character))


class Thoughtful(ScriptedEngine):
    """Answers what is to be planned only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_for: list[Command] = []
        self.may_answer = asyncio.Event()

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        self.asked_for.append(command)
        await self.may_answer.wait()
        return await super().plan(command, now=now)


async def thoughtful_engine() -> Thoughtful:
    engine = Thoughtful()
    engine.set_state((await busy_engine()).state)
    return engine


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


async def test_enter_behind_a_verb_picks_from_the_list_that_the_verb_opens() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        burst(console, "l↓↓↓\r")
        await console.until(lambda: engine.submissions[-1].command == Load("bge-base", "cpu"))
        assert len(console.app.screen_stack) == 1


async def test_no_page_opens_over_the_page_that_a_key_was_typed_for() -> None:
    async with open_console(await busy_engine()) as console:
        burst(console, "\r\r\r???\x1b!")  # opens, closes, opens; means nothing there; closes, opens another
        await console.until(lambda: isinstance(console.app.screen, Alerts))
        assert len(console.app.screen_stack) == 2


async def test_keys_wait_for_the_page_that_the_engine_is_asked_about() -> None:
    engine = await thoughtful_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        burst(console, "l↓\ry")
        await console.until(lambda: engine.asked_for)
        assert len(console.app.screen_stack) == 1
        engine.may_answer.set()
        await console.until(lambda: [s.command for s in engine.submissions] == [Load("bge-base", "gpu0")])


async def test_keys_that_have_waited_too_long_are_left_out_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_ahead, "PATIENCE_S", 0.05)
    engine = await thoughtful_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        before = len(engine.submissions)
        burst(console, "l↓\rye")
        await console.sees("2 keys that were typed ahead are left out: the engine has not answered yet")
        engine.may_answer.set()
        await console.until(lambda: isinstance(console.app.screen, Preview))
        assert len(engine.submissions) == before


async def test_keys_go_on_once_the_engine_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_ahead, "PATIENCE_S", 0.05)
    engine = await thoughtful_engine()
    async with open_console(engine) as console:
        await console.select("phi-3-mini")
        await console.press("e")
        await console.until(lambda: engine.asked_for == [Evict("phi-3-mini")])
        await console.press("question_mark")
        await console.until(lambda: isinstance(console.app.screen, Help))


async def test_leaving_waits_for_nothing() -> None:
    engine = await thoughtful_engine()
    async with open_console(engine) as console:
        await console.select("phi-3-mini")
        burst(console, "eyyy")
        await console.until(lambda: engine.asked_for)
        console.app.post_message(events.Key("ctrl+c", None))
        await console.until(lambda: console.app.return_code == 0)


async def test_the_key_of_a_verb_chooses_nothing_in_a_preview() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        before = len(engine.submissions)
        burst(console, "l↓\rll\r?")
        await console.until(lambda: isinstance(console.app.screen, Help))
        assert len(engine.submissions) == before


async def test_pasted_text_waits_its_turn_between_the_keys() -> None:
    async with open_console(await busy_engine()) as console:
        burst(console, "/b")
        console.app.post_message(events.Paste("ge-ba"))
        burst(console, "se")
        await console.until(lambda: console.app.query_one("#find", Input).value == "bge-base")
