"""The timeline as pictures: its page, and the lower part of a large dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from engine.api import EngineAPI
from tests.snapshots.test_screens import Compare
from tests.timeline.night import BEGAN_S
from tests.timeline.night_engine import NOW, night_engine, whole_night
from tests.tui.consoles import Console


def compare(
    snap_compare: Compare, size: tuple[int, int], steps: Callable[[Console], Awaitable[None]], look: Look
) -> bool:
    async def connect() -> EngineAPI:
        return night_engine()

    app = CitadelApp(connect, look, read_only=False, now=lambda: BEGAN_S + NOW, recall=lambda: whole_night().chronicle)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        await steps(console)
        await pilot.pause()

    return snap_compare(app, terminal_size=size, run_before=before)


async def page(console: Console) -> None:
    await console.press("w")
    await console.until(lambda: "━bge-base" not in console.text and "bge-base" in console.text)


async def picked(console: Console) -> None:
    await page(console)
    await console.press("left", "left")
    await console.sees("predicted")


async def zoomed(console: Console) -> None:
    await picked(console)
    await console.press("plus", "plus")
    await console.sees("a column is 5 s")


async def dashboard(console: Console) -> None:
    await console.sees("bge-base░")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
@pytest.mark.parametrize("steps", [page, picked, zoomed])
def test_the_timeline_looks_as_it_did(
    snap_compare: Compare, steps: Callable[[Console], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert compare(snap_compare, size, steps, Look(UNICODE, "citadel"))


def test_the_lower_part_of_a_large_dashboard_looks_as_it_did(snap_compare: Compare) -> None:
    assert compare(snap_compare, (160, 50), dashboard, Look(UNICODE, "citadel"))


@pytest.mark.parametrize(
    "look",
    [Look(UNICODE, "citadel-ansi"), Look(ASCII, "citadel-ansi"), Look(UNICODE, "citadel-light")],
    ids=["ansi", "ascii", "light"],
)
def test_the_timeline_on_other_terminals_looks_as_it_did(snap_compare: Compare, look: Look) -> None:
    assert compare(snap_compare, (80, 24), picked, look)
