"""The screens as pictures, at the sizes that operators have. `pytest tests/snapshots --snapshot-update` takes them anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.screens.advice import AdvicePage
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from engine.api import EngineAPI, EngineUnreachable
from engine.simulation.advice import Advice, Trying
from tests.cli.test_advise import ADVICE
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine, with_gpus
from tests.tui.consoles import NOON_S, Console
from tests.tui.test_advice_page import Held
from tests.tui.test_proposals import Proposing, busy_state
from tests.tui.test_requests_page import ROWS, WRITER

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


async def marked(console: Console, engine: ScriptedEngine) -> None:
    await console.press("s", "s", "s")
    for model in ("phi-3-mini", "e5-small"):
        await console.select(model)
        await console.press("space")
    await console.sees("2 marked")


async def batch(console: Console, engine: ScriptedEngine) -> None:
    await marked(console, engine)
    await console.press("e")
    await console.sees("[Cancel]")


async def tier(console: Console, engine: ScriptedEngine) -> None:
    await console.press("t")
    await console.sees("Kept, the first to go")


async def alerts(console: Console, engine: ScriptedEngine) -> None:
    engine.add_notice("the journal can't be written: the disk is full", "error")
    await console.sees("2 alerts")
    await console.press("exclamation_mark")
    await console.sees("Alerts")


async def palette(console: Console, engine: ScriptedEngine) -> None:
    await console.press("colon", *"gpu1")
    await console.sees("drain gpu1")


async def graphs(console: Console, engine: ScriptedEngine) -> None:
    await console.press("g")
    await console.sees("OVER TIME")


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


SCREENS = [dashboard, preview, refusal, details, marked, batch, tier, alerts, palette, help_page, disconnected]


def app_over(held: list[ScriptedEngine], look: Look) -> CitadelApp:
    """A console over a busy engine, which `held` is given when it has been made."""

    async def connect() -> EngineAPI:
        if held:
            raise EngineUnreachable("no engine answers at /run/citadel/engine.sock")
        held.append(await busy_engine())
        return held[0]

    return CitadelApp(connect, look, read_only=False, now=lambda: NOON_S, monotonic=lambda: NOON_S)


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
@pytest.mark.parametrize(
    "steps", [dashboard, preview, refusal, details, marked, batch, tier, alerts, palette, help_page, disconnected]
)
def test_a_screen_looks_as_it_did(snap_compare: Compare, steps: Steps, size: tuple[int, int]) -> None:
    assert compare(snap_compare, steps, size, Look(UNICODE, "citadel"))


async def requests_under_way(console: Console, engine: ScriptedEngine) -> None:
    engine.under_way = (WRITER, ROWS)
    await console.press("i")
    await console.sees("2 requests under way")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_requests_under_way_look_as_they_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert compare(snap_compare, requests_under_way, size, Look(UNICODE, "citadel"))


@pytest.mark.parametrize("steps", [waterfall, loading, graphs])
def test_a_screen_with_bars_looks_as_it_did(snap_compare: Compare, steps: Steps) -> None:
    assert compare(snap_compare, steps, (80, 24), Look(UNICODE, "citadel"))


@pytest.mark.parametrize("steps", [dashboard, preview])
@pytest.mark.parametrize("look", [Look(UNICODE, "citadel-ansi"), Look(ASCII, "citadel-ansi")], ids=["ansi", "ascii"])
def test_a_screen_in_sixteen_colours_looks_as_it_did(snap_compare: Compare, steps: Steps, look: Look) -> None:
    assert compare(snap_compare, steps, (80, 24), look)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
def test_light_colours_look_as_they_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert compare(snap_compare, dashboard, size, Look(UNICODE, "citadel-light"))


@pytest.mark.parametrize("size", [(100, 30), (160, 50)], ids=["100x30", "160x50"])
def test_the_table_tells_of_requests_where_there_is_room(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert compare(snap_compare, dashboard, size, Look(UNICODE, "citadel"))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_proposal_looks_as_it_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def connect() -> EngineAPI:
        return Proposing(await busy_state())

    app = CitadelApp(connect, Look(UNICODE, "citadel"), read_only=False, now=lambda: NOON_S, monotonic=lambda: NOON_S)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        await console.press("r")
        await console.sees("Rebalance?")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_sixteen_devices_and_two_hundred_models_look_as_they_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def connect() -> EngineAPI:
        engine = await busy_engine(models=200)
        engine.set_state(with_gpus(engine.state, 16, "gpu11"))
        return engine

    app = CitadelApp(connect, Look(UNICODE, "citadel"), read_only=False, now=lambda: NOON_S, monotonic=lambda: NOON_S)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("MODELS 200")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_advice_looks_as_it_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = app_over([], Look(UNICODE, "citadel"))

    async def advised(say: Callable[[Trying], None]) -> Advice:
        return ADVICE

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        app.push_screen(AdvicePage(advised, UNICODE))
        await console.sees("1. RAM tier")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)


def test_advice_under_way_looks_as_it_did(snap_compare: Compare) -> None:
    app = app_over([], Look(UNICODE, "citadel"))

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        app.push_screen(AdvicePage(Held(), UNICODE))
        await console.sees("50%")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=before)
