"""The dashboard under the keys: the cursor, the filter, the log, and what happens when the line breaks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.widgets.lists import ModelTable, SwitchLog
from engine.core.models import ModelSpec
from engine.core.state import ModelState
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.tui.busy_engines import busy_engine, small_model, with_models
from tests.tui.consoles import open_console


async def test_the_dashboard_shows_devices_models_switches_and_the_banner() -> None:
    async with open_console(await busy_engine()) as console:
        for text in ("citadel  scripted", "● live", "the GPUs are virtual", "gpu0", "480/512 MiB", "all-MiniLM-L6-v2"):
            await console.sees(text)
        await console.sees("p50 0.20 s  p95 0.20 s of 4  target < 2 s ✓")
        await console.sees("phi-3-mini → gpu0 × bge-base")


async def test_the_cursor_stays_on_its_model_while_the_rows_change_their_order() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        for _ in range(6):
            await console.press("s")
            assert console.selected == "bge-base"
        state = (await engine.snapshot()).state
        engine.set_state(replace(state, models=dict(reversed(state.models.items()))))
        await console.until(lambda: "phi-3-mini" in console.rows[2])
        assert console.selected == "bge-base"
        assert console.rows[3].startswith("▸▐bge-base")


async def test_the_filter_shows_matching_models_and_escape_shows_all_again() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("slash", "b", "g", "e")
        await console.sees('1 of 4  with "bge"')
        assert console.selected == "bge-base"
        await console.press("enter")
        await console.press("l")
        await console.sees("Load bge-base: on which device?")
        await console.press("escape", "escape")
        await console.until(lambda: len(console.rows) == 6)


async def test_tab_goes_to_the_log_where_enter_opens_the_waterfall() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("tab")
        await console.until(lambda: console.app.screen.query_one(SwitchLog).has_focus)
        await console.press("end", "enter")
        await console.sees("Phases")
        await console.sees("copy    150.0 ms  ████")
        await console.press("escape", "tab", "enter")
        await console.sees("98 MiB estimated: 87 MiB weights + 11 MiB workspace")


async def test_a_lost_line_greys_the_last_state_disables_verbs_and_comes_back() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await engine.stop()
        await console.sees("○ disconnected 0s")
        await console.sees("the engine was stopped; trying again")
        assert "480/512 MiB" in console.text
        rows = console.app.screen.query_one(ModelTable).lines[1:]
        assert {span.role for row in rows for span in row[1:]} == {"dim"}
        await console.press("e")
        await console.sees("Evict: there is no line to the engine")
        engine.stopped = False
        await console.sees("● live")


async def test_hostile_names_and_reasons_are_shown_and_not_obeyed() -> None:
    engine = await busy_engine()
    name = "a[/]b[@click=app.exit]\x1b[31m"
    state = (await engine.snapshot()).state
    model = ModelState(ModelSpec(name, ("x",), "embedding"), small_model("x").footprint, trouble="\x1b]0;t\x07[bold]no")
    engine.set_state(replace(state, models={name: model, **state.models}))
    engine.add_notice("[/] \x1b[2J \x9b1m")
    async with open_console(engine, size=(200, 50)) as console:
        await console.select(name)
        await console.sees("a[/]b[@click=app.exit]�[31m")
        await console.sees("[/] �[2J �1m")
        await console.press("enter")
        await console.sees("]0;t�[bold]no")
        assert "\x1b" not in console.text


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 50)])
async def test_one_to_thirty_models_fit_the_screen_and_all_can_be_reached(count: int, size: tuple[int, int]) -> None:
    async with open_console(ScriptedEngine(with_models(scripted_state(), count)), size=size) as console:
        await console.press("end")
        await console.until(lambda: console.rows[-1].startswith("▸"))
        assert len(console.rows) == count + 2
        await console.press("home")
        await console.until(lambda: console.rows[2].startswith("▸"))


async def test_a_new_size_lays_the_screen_out_again() -> None:
    async with open_console(await busy_engine()) as console:
        await console.pilot.resize_terminal(180, 36)
        await console.sees("94% of budget")
        await console.pilot.resize_terminal(60, 20)
        await console.until(lambda: "REQ/MIN" not in console.text)
        assert max(len(row) for row in console.rows) <= 60


async def test_leaving_leaves_the_engine_and_its_models_alone() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.press("q")
    assert console.app.return_code == 0
    assert not engine.stopped
