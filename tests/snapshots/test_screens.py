"""The screens as pictures, at the sizes that operators have. `pytest tests/snapshots --snapshot-update` takes them anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.look import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from engine.api import EngineAPI, EngineUnreachable
from tests.scripted import ScriptedEngine
from tests.tui.pilots import NOON_S, Console
from tests.tui.scenes import busy_engine

SIZES = [(60, 20), (80, 24), (120, 36), (200, 50)]
Compare: TypeAlias = Callable[..., bool]
"""The fixture of pytest-textual-snapshot."""
Steps: TypeAlias = Callable[[Console, ScriptedEngine], Awaitable[None]]


async def dashboard(console: Console, engine: ScriptedEngine) -> None:
    await console.sees("bge-base")


async def preview(console: Console, engine: ScriptedEngine) -> None:
    await console.select("bge-base")
    await console.press("l", "down", "enter")
    await console.sees("[Cancel]")


async def refusal(console: Console, engine: ScriptedEngine) -> None:
    await console.select("phi-3-mini")
    await console.press("p")
    await console.sees("done")
    await console.select("bge-base")
    await console.press("l", "down", "enter")
    await console.sees("Can't load")


async def details(console: Console, engine: ScriptedEngine) -> None:
    await console.select("phi-3-mini")
    await console.press("enter")
    await console.sees("footprint")


async def waterfall(console: Console, engine: ScriptedEngine) -> None:
    await console.press("tab", "down", "down", "down", "enter")
    await console.sees("Phases")


async def help_page(console: Console, engine: ScriptedEngine) -> None:
    await console.press("question_mark")
    await console.sees("Keys")


async def loading(console: Console, engine: ScriptedEngine) -> None:
    engine.hold()
    await console.select("phi-3-mini")
    await console.press("m", "end", "enter")
    await console.sees("[Cancel]")
    await console.press("y")
    await console.sees("copy 50%")


async def disconnected(console: Console, engine: ScriptedEngine) -> None:
    await engine.stop()
    await console.sees("no engine answers")


def app_over(held: list[ScriptedEngine], look: Look) -> CitadelApp:
    """A console over a busy engine, which `held` is given when it has been made."""

    async def connect() -> EngineAPI:
        if held:
            raise EngineUnreachable("no engine answers at /run/citadel/engine.sock")
        held.append(await busy_engine())
        return held[0]

    return CitadelApp(connect, look, read_only=False, now=lambda: NOON_S)


def compare(snap_compare: Compare, steps: Steps, size: tuple[int, int], look: Look) -> bool:
    held: list[ScriptedEngine] = []
    app = app_over(held, look)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        await steps(console, held[0])
        await pilot.pause()

    return snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("steps", [dashboard, preview, refusal, details, help_page, disconnected])
def test_a_screen_looks_as_it_did(snap_compare: Compare, steps: Steps, size: tuple[int, int]) -> None:
    assert compare(snap_compare, steps, size, Look(UNICODE, "citadel"))


@pytest.mark.parametrize("steps", [waterfall, loading])
def test_a_screen_with_bars_looks_as_it_did(snap_compare: Compare, steps: Steps) -> None:
    assert compare(snap_compare, steps, (80, 24), Look(UNICODE, "citadel"))


@pytest.mark.parametrize("steps", [dashboard, preview])
@pytest.mark.parametrize("look", [Look(UNICODE, "citadel-ansi"), Look(ASCII, "citadel-ansi")], ids=["ansi", "ascii"])
def test_a_screen_in_sixteen_colours_looks_as_it_did(snap_compare: Compare, steps: Steps, look: Look) -> None:
    assert compare(snap_compare, steps, (80, 24), look)
