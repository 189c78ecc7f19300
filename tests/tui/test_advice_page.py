"""The page of advice: asked for by its key, followed while it is worked on, given up with escape."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from citadel_tui.screens.advice import AdvicePage
from citadel_tui.viewmodel.glyphs import UNICODE
from engine.api import EngineError
from engine.paths import find_paths
from engine.simulation.advice import Advice, Trying
from tests.cli.test_advise import ADVICE
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


class Held:
    """An asking that says half, and goes on for ever."""

    def __init__(self) -> None:
        self.was_given_up = False

    async def __call__(self, say: Callable[[Trying], None]) -> Advice:
        say(Trying(0.5, "x pinned"))
        try:
            await asyncio.Event().wait()
        finally:
            self.was_given_up = True
        return ADVICE


@pytest.fixture
def recorded(citadel_home: Path) -> None:
    models = ("phi-3-mini", "bge-base", "e5-small")
    folder = find_paths(os.environ).demand
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{20 * number},{models[number % 3]},1\n" for number in range(24))
    (folder / "demand.csv").write_text(f"t_s,model,work\n{rows}")


async def test_the_recorded_demand_is_advised_on(recorded: None) -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("a")
        await console.sees("24 requests over 7m for 3 models")
        await console.sees("Would help, the most saved first")
        await console.press("escape")
        await console.until(lambda: len(console.app.screen_stack) == 1)


async def test_without_recorded_demand_the_page_says_why(citadel_home: Path) -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("a")
        await console.until(lambda: "no recorded demand" in " ".join(console.text.split()))


async def test_progress_is_shown_and_escape_gives_up() -> None:
    async with open_console(await busy_engine()) as console:
        held = Held()
        console.app.push_screen(AdvicePage(held, UNICODE))
        await console.sees("50%, replaying: x pinned")
        await console.press("escape")
        await console.until(lambda: held.was_given_up)
        assert len(console.app.screen_stack) == 1


async def test_leaving_the_console_gives_up_too() -> None:
    held = Held()
    async with open_console(await busy_engine()) as console:
        console.app.push_screen(AdvicePage(held, UNICODE))
        await console.sees("50%")
    assert held.was_given_up


async def test_what_would_help_is_listed_with_saving_cost_and_the_line_that_does_it() -> None:
    async def advised(say: Callable[[Trying], None]) -> Advice:
        return ADVICE

    async with open_console(await busy_engine(), size=(120, 50)) as console:
        console.app.push_screen(AdvicePage(advised, UNICODE))
        await console.sees("1. RAM tier 4.0 GiB instead of 2.0 GiB")
        for text in (
            "switching 12.3 s ± 2.00 s of 40.0 s saved for 1,000 requests",
            "costs     2.0 GiB of host RAM",
            "how       ram_tier.budget: 4GiB in gpu_allocation.yaml",
            "Tried, of no use",
            "left out: z, no longer in the catalog",
        ):
            assert text in console.text


async def test_an_asking_that_breaks_off_is_told() -> None:
    async def broken(say: Callable[[Trying], None]) -> Advice:
        raise EngineError("advising broke off: no memory is left")

    async with open_console(await busy_engine()) as console:
        console.app.push_screen(AdvicePage(broken, UNICODE))
        await console.sees("advising broke off: no memory is left")


async def test_a_read_only_console_does_not_ask() -> None:
    async with open_console(await busy_engine(), read_only=True) as console:
        await console.press("a")
        await console.sees("Advice: this console is read-only")
