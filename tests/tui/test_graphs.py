"""What the console remembers, and the graphs that it draws of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.device_rows import device_rows
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.viewmodel.graph import graph
from citadel_tui.viewmodel.history import BUCKET_S, KEPT, TIER, GraphHistory, with_snapshot
from citadel_tui.viewmodel.over_time import demand_lines, memory_lines, panel_lines, sensor_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import width_of
from citadel_tui.widgets.bars import OverTime
from engine.api import Snapshot
from engine.core.sizes import MIB
from engine.core.state import State
from tests.scripted_plans import START_S, scripted_state
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, open_console


def using(used_mib: int | None, requests: int = 0) -> Snapshot:
    """gpu0 with so much in use, and so many requests for e5-small so far."""
    state: State = scripted_state()
    gpu0 = state.devices["gpu0"]
    used = None if used_mib is None else used_mib * MIB
    e5 = state.models["e5-small"]
    return Snapshot(
        1,
        START_S,
        replace(
            state,
            devices={**state.devices, "gpu0": replace(gpu0, reading=replace(gpu0.reading, used_bytes=used))},
            models={**state.models, "e5-small": replace(e5, demand=replace(e5.demand, requests=requests))},
        ),
    )


def seen(*looks: tuple[float, Snapshot]) -> GraphHistory:
    history = GraphHistory()
    for after_s, snapshot in looks:
        history = with_snapshot(history, snapshot, START_S + after_s)
    return history


def test_a_bucket_holds_the_most_that_was_in_use_within_it() -> None:
    history = seen((0, using(10)), (1, using(30)), (9, using(20)), (10, using(5)))
    assert history.memory["gpu0"] == (30 * MIB, 5 * MIB)
    assert history.memory[TIER] == (0, 0)


def test_what_was_not_seen_is_not_known_and_a_silent_device_tells_nothing() -> None:
    history = seen((0, using(10)), (30, using(20)), (40, using(None)))
    assert history.memory["gpu0"] == (10 * MIB, None, None, 20 * MIB, None)


def test_what_sensors_said_is_kept_of_devices_that_have_them() -> None:
    told = using(1)
    gpu0 = told.state.devices["gpu0"]
    warm = replace(gpu0, reading=replace(gpu0.reading, utilization_percent=63, temperature_c=54, power_w=9.5))
    first = replace(told, state=replace(told.state, devices={**told.state.devices, "gpu0": warm}))
    history = seen((0, first), (10, told))
    assert (history.busy, history.heat, history.power) == (
        {"gpu0": (63, None)},
        {"gpu0": (54, None)},
        {"gpu0": (10, None)},
    )


def test_the_graph_in_a_row_is_of_how_busy_the_device_was_or_else_of_how_full() -> None:
    scene = Scene(START_S, snapshot=using(1), history=GraphHistory(1, {"gpu0": (640 * MIB,), "gpu1": (320 * MIB,)}))
    busy = replace(scene, history=replace(scene.history, busy={"gpu0": (0, 50, 100)}))
    assert [row_graph(scene, at) for at in (0, 1)] == ["█", "▄"]
    assert [row_graph(busy, at) for at in (0, 1)] == ["▄█", "▄"]


def row_graph(scene: Scene, row: int) -> str:
    text = "".join(span.text for span in device_rows(scene, Paper(100, UNICODE), 20).lines[row])
    return text.partition(UNICODE.start)[0].removeprefix(f" gpu{row} ").rstrip(" ").lstrip()


def test_a_page_shows_what_the_sensors_of_its_device_said() -> None:
    history = GraphHistory(1, busy={"gpu0": (10, 63)}, heat={"gpu0": (50, 54)}, power={"gpu0": (None, None)})
    scene = Scene(START_S, snapshot=using(1), history=history)
    lines = text(sensor_lines(scene, "gpu0", Paper(80, UNICODE)))
    assert "up to 63 %" in lines
    assert "up to 54 °C" in lines
    assert "power" not in lines
    assert sensor_lines(scene, "gpu1", Paper(80, UNICODE)) == ()


def test_requests_are_counted_from_the_first_look_and_over_a_new_engine() -> None:
    history = seen((0, using(1, 100)), (10, using(1, 103)), (11, using(1, 104)), (20, using(1, 2)), (30, using(1, 5)))
    assert history.requests["e5-small"] == (4, 0, 3)
    assert "bge-base" not in history.requests


def test_a_first_request_is_counted_in_the_bucket_that_is_being_filled() -> None:
    history = seen((0, using(1, 0)), (1, using(1, 2)), (2, using(1, 3)))
    assert history.requests["e5-small"] == (3,)


def test_an_hour_is_remembered_and_no_more() -> None:
    history = seen(
        (0, using(1, 0)), (BUCKET_S, using(1, 1)), *((n * BUCKET_S, using(1, n)) for n in range(2, 2 * KEPT))
    )
    assert len(history.memory["gpu0"]) == len(history.requests["e5-small"]) == KEPT
    assert len(seen((0, using(1)), (1e7, using(2))).memory["gpu0"]) == KEPT


def test_a_graph_fills_columns_from_below_with_the_newest_at_the_right() -> None:
    assert graph([0, 50, 100], 100, Paper(5, UNICODE), 2) == ("    █", "   ██")
    assert graph([0, 1, None, 25, 100], 100, Paper(5, UNICODE), 1) == (" ▁ ▂█",)
    assert graph([0, 30, 100], 100, Paper(3, ASCII), 1) == (" .#",)


values = st.lists(st.none() | st.floats(0, 1e6), max_size=80)


@given(values, st.floats(0, 1e5), st.integers(1, 60), st.integers(1, 6))
def test_a_graph_has_its_size_whatever_it_shows(found: list[float | None], top: float, width: int, height: int) -> None:
    for glyphs in (UNICODE, ASCII):
        rows = graph(found, top, Paper(width, glyphs), height)
        assert [len(row) for row in rows] == [width] * height


def text(lines: object) -> str:
    assert isinstance(lines, tuple)
    return "\n".join("".join(span.text for span in line) for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120, 160, 200, 300])
async def test_the_panel_shows_as_many_devices_as_fit_and_always_the_switches(width: int) -> None:
    engine = await busy_engine()
    history = with_snapshot(GraphHistory(), await engine.snapshot(), START_S)
    scene = Scene(START_S, None, await engine.snapshot(), await engine.records(), history=history)
    lines = panel_lines(scene, Paper(width, UNICODE), 3)
    assert [width_of(line) for line in lines] == [width] * 5
    assert "up to 0.20 s, target 2 s" in text(lines)
    assert ("gpu1" in text(lines)) == (width >= 120)
    assert ("more: keys 0-9" in text(lines)) == (width < 200)


def test_pages_have_a_graph_once_there_is_a_past() -> None:
    first = Scene(START_S, snapshot=using(10), history=seen((0, using(10))))
    assert memory_lines(first, "gpu0", Paper(60, UNICODE)) == demand_lines(first, "e5-small", Paper(60, UNICODE)) == ()
    later = replace(first, history=seen((0, using(10)), (10, using(320, 7))))
    assert "up to 320 of 640 MiB" in text(memory_lines(later, "gpu0", Paper(60, UNICODE)))
    assert "up to 7 within 10 s" in text(demand_lines(later, "e5-small", Paper(60, UNICODE)))


def shown(console: Console) -> bool:
    return bool(console.app.screen_stack[0].query_one(OverTime).display)


async def test_graphs_are_there_where_there_is_room_and_g_shows_or_hides_them_anywhere() -> None:
    async with open_console(await busy_engine(), size=(120, 36)) as console:
        await console.sees("OVER TIME")
        await console.press("g")
        await console.until(lambda: not shown(console))
        await console.press("g")
        await console.until(lambda: shown(console))
    async with open_console(await busy_engine(), size=(80, 24)) as console:
        assert not shown(console)
        await console.press("g")
        await console.until(lambda: shown(console))
        assert console.app.screen.query("FooterKeys").first().region.bottom == 24


async def test_the_link_remembers_what_it_sees_and_nothing_while_the_line_is_down() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        console.app.link.remember()
        known = console.app.link.scene().history
        assert known.memory["gpu0"] == (540 * MIB,)
        await engine.stop()
        await console.until(lambda: console.app.link.scene().stale)
        console.app.link.remember()
        assert console.app.link.scene().history == known
