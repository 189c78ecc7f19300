"""Many devices on few rows: who has a row, and what stands for the others."""

from __future__ import annotations

import pytest

from citadel_tui.viewmodel.dashboard.device_rows import device_rows, next_window
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import width_of
from engine.api import Snapshot
from engine.core.state import State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S, scripted_budgets, scripted_state
from tests.tui.busy_engines import with_gpus, with_models
from tests.tui.consoles import open_console


def rows(state: State, most: int, width: int = 100, first: int | None = None) -> list[str]:
    scene = Scene(START_S, snapshot=Snapshot(1, START_S, state, budgets=scripted_budgets(state)))
    lines = device_rows(scene, Paper(width, UNICODE), most, first).lines
    assert all(width_of(line) == width for line in lines)
    return ["".join(span.text for span in line) for line in lines]


def labels(found: list[str]) -> list[str]:
    return [row.split()[0] for row in found]


def test_devices_that_fit_have_a_row_each() -> None:
    assert labels(rows(with_gpus(scripted_state(), 3), 5)) == ["gpu0", "gpu1", "gpu2", "cpu", "ram"]


def test_gpus_that_do_not_fit_are_one_row_of_words_which_names_the_key_that_shows_them() -> None:
    found = rows(with_gpus(scripted_state(), 16), 6)
    assert labels(found) == ["gpu0", "gpu1", "gpu2", "+13", "cpu", "ram"]
    assert found[3].split(" · ")[0].strip() == "+13  d shows more"
    assert "most room on gpu3, 512 MiB" in found[3]
    assert "MiB" not in found[3].replace("512 MiB", "")


def test_the_cpus_memory_is_never_told_together_with_that_of_gpus() -> None:
    for most in range(4, 18):
        found = rows(with_gpus(scripted_state(), 16), most)
        assert "0/2048 MiB" in next(row for row in found if row.startswith(" cpu"))


def test_a_device_in_trouble_has_its_row_before_those_that_are_well() -> None:
    assert labels(rows(with_gpus(scripted_state(), 16, "gpu11", "gpu14"), 6)) == [
        *("gpu0", "gpu11", "gpu14", "+13", "cpu", "ram"),
    ]


def test_more_devices_in_trouble_than_rows_are_counted() -> None:
    found = rows(with_gpus(scripted_state(), 16, *(f"gpu{number}" for number in range(16))), 6)
    assert "✗ 13 not ok" in found[3]
    assert len(found) == 6


def test_windows_show_each_gpu_and_the_last_one_is_as_full_as_the_others() -> None:
    state = with_gpus(scripted_state(), 16)
    first: int | None = 0
    windows = []
    while first is not None:
        windows.append([label for label in labels(rows(state, 9, first=first)) if label.startswith("gpu")])
        first = next_window(tuple(state.devices.values()), 9, first)
    assert [len(window) for window in windows] == [6, 6, 6]
    assert {name for window in windows for name in window} == {f"gpu{number}" for number in range(16)}


@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize("most", [4, 6, 8, 16])
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_there_are_never_more_rows_than_there_is_room_for(count: int, most: int, width: int) -> None:
    assert len(rows(with_gpus(scripted_state(), count, "gpu0"), most, width)) <= most


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 50)])
async def test_sixteen_devices_and_two_hundred_models_leave_the_keys_on_the_screen(size: tuple[int, int]) -> None:
    engine = ScriptedEngine(with_gpus(with_models(scripted_state(), 200), 16))
    async with open_console(engine, size=size) as console:
        await console.sees("MODELS 200")
        await console.press("end")
        await console.sees("▸▐reranker-196")
        assert console.rows[1].startswith("  MODEL")
        assert console.app.screen.query("FooterKeys").first().region.bottom == size[1]


async def test_a_key_shows_the_gpus_that_have_no_row_then_the_next_ones_and_folds_them_after_the_last() -> None:
    engine = ScriptedEngine(with_gpus(with_models(scripted_state(), 40), 30))
    async with open_console(engine) as console:
        await console.sees("+21")
        folded = console.text
        for last in ("gpu12", "gpu25", "gpu29"):
            await console.press("d")
            await console.sees(f"\n {last} ")
        await console.press("d")
        await console.until(lambda: console.text == folded)
        await console.press("d")
        await console.until(lambda: console.text != folded)
        await console.press("escape")
        await console.until(lambda: console.text == folded)


async def test_where_every_device_has_a_row_the_key_says_so() -> None:
    async with open_console(ScriptedEngine(scripted_state())) as console:
        await console.press("d")
        await console.sees("every device has a row of its own")


async def test_eight_cards_have_eight_rows_on_a_small_screen() -> None:
    engine = ScriptedEngine(with_gpus(with_models(scripted_state(), 40), 8))
    async with open_console(engine) as console:
        await console.until(lambda: all(f"\n gpu{number} " in console.text for number in range(8)))
