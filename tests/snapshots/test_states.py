"""What must not break the console, as pictures: trouble of each kind, names that bite, and a terminal without colours."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from engine.api import EngineAPI
from engine.core.devices import Reading
from engine.core.names import DeviceId
from engine.core.sizes import MIB
from engine.core.state import DeviceState
from tests.scripted_engine import ScriptedEngine
from tests.snapshots.test_screens import SIZES, Compare, Steps, compare, waterfall
from tests.tui.busy_engines import busy_engine, small_model
from tests.tui.consoles import NOON_S, Console

NAMES = ("a[/]b", "[@click=app.quit]x[/]", "\x1b[31mred\x1b[0m", "模型-大-v2", "é" * 40, "evil\u202egpj.exe")
"""Markup, a live action, escape sequences, two cells a character, a long one, a reversal of direction."""
UNICODE_LOOK = Look(UNICODE, "citadel")

by_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
at_either_end = pytest.mark.parametrize("size", [SIZES[0], SIZES[-1]], ids=lambda size: f"{size[0]}x{size[1]}")


def with_device(engine: ScriptedEngine, known: DeviceState) -> None:
    engine.set_state(replace(engine.state, devices={**engine.state.devices, known.spec.id: known}))


def with_reading(engine: ScriptedEngine, device: DeviceId, reading: Reading) -> None:
    with_device(engine, replace(engine.state.devices[device], reading=reading))


async def picker(console: Console, engine: ScriptedEngine) -> None:
    await console.select("bge-base")
    await console.press("l")
    await console.sees("on which device?")


async def starting(console: Console, engine: ScriptedEngine) -> None:
    with_reading(engine, "gpu1", Reading("starting", "its worker starts"))
    await console.sees("starting")


async def stale(console: Console, engine: ScriptedEngine) -> None:
    known = engine.state.devices["gpu0"].reading
    with_reading(engine, "gpu0", replace(known, health="stale", reason="the driver does not answer", mono_s=-60.0))
    await console.sees("gpu0 is stale")


async def lost_device(console: Console, engine: ScriptedEngine) -> None:
    with_reading(engine, "gpu0", Reading("lost", "it fell off the bus", at_s=NOON_S - 70, mono_s=-70.0))
    await console.sees("gpu0 is lost")


async def leak(console: Console, engine: ScriptedEngine) -> None:
    with_device(engine, replace(engine.state.devices["gpu1"], leaked_bytes=96 * MIB))
    await console.sees("did not come back")


async def failing_load(console: Console, engine: ScriptedEngine) -> None:
    engine.fail_next("the worker was killed by SIGKILL")
    await console.select("bge-base")
    await console.press("l", "end", "enter")
    await console.sees("failed, everything is as it was")


async def names_that_bite(console: Console, engine: ScriptedEngine) -> None:
    models = {**engine.state.models, **{name: small_model(name) for name in NAMES}}
    engine.set_state(replace(engine.state, models=models))
    await console.sees("模型-大-v2")


async def palette_of_names_that_bite(console: Console, engine: ScriptedEngine) -> None:
    await names_that_bite(console, engine)
    await console.press("colon", *"on", "space", *"cpu")
    await console.sees("load 模型-大-v2 on cpu")


async def preview_of_names_that_bite(console: Console, engine: ScriptedEngine) -> None:
    await names_that_bite(console, engine)
    for name in NAMES:
        await console.select(name)
        await console.press("space")
    await console.press("l", "end", "enter")
    await console.sees("[Cancel]")


async def page_of_a_name_that_bites(console: Console, engine: ScriptedEngine) -> None:
    await names_that_bite(console, engine)
    await console.select(NAMES[2])
    await console.press("enter")
    await console.sees("footprint")


@by_size
@pytest.mark.parametrize("steps", [picker, waterfall])
def test_a_screen_looks_as_it_did(snap_compare: Compare, steps: Steps, size: tuple[int, int]) -> None:
    assert compare(snap_compare, steps, size, UNICODE_LOOK)


@pytest.mark.parametrize("steps", [starting, stale, lost_device, leak, failing_load])
def test_trouble_looks_as_it_did(snap_compare: Compare, steps: Steps) -> None:
    assert compare(snap_compare, steps, (80, 24), UNICODE_LOOK)


@at_either_end
@pytest.mark.parametrize("steps", [lost_device, failing_load])
def test_trouble_on_a_small_and_on_a_large_screen_looks_as_it_did(
    snap_compare: Compare, steps: Steps, size: tuple[int, int]
) -> None:
    assert compare(snap_compare, steps, size, UNICODE_LOOK)


@pytest.mark.parametrize("size", [(60, 20), (120, 36)], ids=["60x20", "120x36"])
@pytest.mark.parametrize(
    "steps",
    [names_that_bite, palette_of_names_that_bite, preview_of_names_that_bite, page_of_a_name_that_bites],
)
def test_names_that_bite_look_as_they_did(snap_compare: Compare, steps: Steps, size: tuple[int, int]) -> None:
    assert compare(snap_compare, steps, size, UNICODE_LOOK)


def test_names_that_bite_in_ascii_look_as_they_did(snap_compare: Compare) -> None:
    async def steps(console: Console, engine: ScriptedEngine) -> None:
        engine.set_state(replace(engine.state, models={name: small_model(name) for name in NAMES}))
        await console.sees("MODELS 6")

    assert compare(snap_compare, steps, (80, 24), Look(ASCII, "citadel-ansi"))


def test_no_colour_looks_as_it_did(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert compare(snap_compare, lost_device, (80, 24), Look(UNICODE, "citadel-ansi"))


@at_either_end
def test_a_read_only_console_looks_as_it_did(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def connect() -> EngineAPI:
        return await busy_engine()

    app = CitadelApp(connect, UNICODE_LOOK, read_only=True, now=lambda: NOON_S, monotonic=lambda: NOON_S)

    async def before(pilot: Pilot[int]) -> None:
        console = Console(pilot, app)
        await console.sees("live")
        await console.press("e")
        await console.sees("this console is read-only")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)
