"""What a console says to somebody who sees it for the first time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from citadel_tui.app import CitadelApp
from citadel_tui.settings.file import load_settings_file, save_settings_file
from citadel_tui.settings.settings import AT_FIRST
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import UNICODE
from engine.defaults import DEFAULTS_FOLDER
from engine.paths import console_file
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import NOON_S, Console, Line

HINT = "up and down choose a model; l loads it"


@asynccontextmanager
async def first_console(engine: ScriptedEngine) -> AsyncIterator[Console]:
    app = CitadelApp(
        Line(engine).connect,
        Look(UNICODE, "citadel"),
        read_only=False,
        first=True,
        now=lambda: NOON_S,
        monotonic=lambda: NOON_S,
    )
    async with app.run_test(size=(80, 24)) as pilot:
        console = Console(pilot, app)
        await console.sees("live")
        yield console


async def test_the_first_start_says_what_to_do_until_a_key_does_something() -> None:
    async with first_console(ScriptedEngine()) as console:
        await console.sees(HINT)
        welcome = console.app.screen.query_one("Welcome")
        await console.until(lambda: welcome.size.height == 3)
        await console.press("down")
        assert welcome.display
        assert console.app.welcomed
        await console.press("space")
        assert not welcome.display


async def test_an_engine_with_a_past_needs_no_welcome() -> None:
    async with first_console(await busy_engine()) as console:
        assert not console.app.screen.query_one("Welcome").display
        assert not console.app.welcomed


def test_a_console_that_was_left_once_is_no_longer_new() -> None:
    path = console_file(os.environ)
    assert load_settings_file(path).first
    save_settings_file(path, AT_FIRST)
    assert not load_settings_file(path).first


async def test_a_console_without_models_says_how_to_add_one_and_names_no_key_for_them() -> None:
    engine = ScriptedEngine(replace(scripted_state(), models={}))
    async with first_console(engine) as console:
        await console.sees("No model yet: `citadel models add hub:OWNER/NAME` or path:FOLDER")
        assert not console.app.screen.query_one("Welcome").display


async def test_a_console_on_the_programs_own_defaults_names_the_command_that_writes_others() -> None:
    engine = ScriptedEngine(replace(scripted_state(), models={}))
    engine.config = str(DEFAULTS_FOLDER)
    async with first_console(engine) as console:
        await console.sees("`citadel init` writes")
