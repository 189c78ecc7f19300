"""Many devices on few rows: who has a row, and what stands for the others."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.bars import bar_rows, together
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.memory_map import occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import width_of
from engine.api import Snapshot
from engine.core.devices import Reading
from engine.core.state import State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S, scripted_budgets, scripted_state
from tests.tui.busy_engines import busy_engine, with_models
from tests.tui.consoles import open_console


def with_gpus(state: State, count: int, *lost: str) -> State:
    """`state` with so many GPUs before its CPU, some of them lost."""
    gpu = scripted_state().devices["gpu1"]
    names = [f"gpu{number}" for number in range(count)]
    gpus = {name: state.devices.get(name, replace(gpu, spec=replace(gpu.spec, id=name))) for name in names}
    gpus |= {name: replace(gpus[name], reading=Reading("lost", "gone", at_s=START_S)) for name in lost}
    return replace(state, devices={**gpus, "cpu": state.devices["cpu"]})


def rows(state: State, most: int, width: int = 100) -> list[str]:
    lines = bar_rows(Snapshot(1, START_S, state, budgets=scripted_budgets(state)), Paper(width, UNICODE), most, START_S)
    assert all(width_of(line) == width for line in lines)
    return ["".join(span.text for span in line) for line in lines]


def labels(found: list[str]) -> list[str]:
    return [row.split()[0] for row in found]


def test_devices_that_fit_have_a_row_each() -> None:
    assert labels(rows(with_gpus(scripted_state(), 3), 5)) == ["gpu0", "gpu1", "gpu2", "cpu", "ram"]


def test_devices_that_do_not_fit_are_one_row_together() -> None:
    found = rows(with_gpus(scripted_state(), 16), 6)
    assert labels(found) == ["gpu0", "gpu1", "gpu2", "gpu3", "+13", "ram"]
    assert "0/8192 MiB" in found[4]


def test_a_device_in_trouble_has_its_row_before_those_that_are_well() -> None:
    assert labels(rows(with_gpus(scripted_state(), 16, "gpu11", "gpu14"), 6)) == [
        *("gpu0", "gpu1", "gpu11", "gpu14", "+13", "ram"),
    ]


def test_more_devices_in_trouble_than_rows_are_counted() -> None:
    found = rows(with_gpus(scripted_state(), 16, *(f"gpu{number}" for number in range(16))), 6)
    assert "✗ 12 not ok" in found[4]
    assert len(found) == 6


@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize("most", [4, 6, 8, 16])
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_there_are_never_more_rows_than_there_is_room_for(count: int, most: int, width: int) -> None:
    assert len(rows(with_gpus(scripted_state(), count, "gpu0"), most, width)) <= most


async def test_what_stands_for_several_devices_is_their_sum() -> None:
    snapshot = await (await busy_engine()).snapshot()
    parts = [occupancy(snapshot, device) for device in snapshot.state.devices]
    whole = together(parts)
    assert whole.used_bytes == sum(part.used_bytes for part in parts)
    assert sum(s.size_bytes for s in (*whole.inside, *whole.outside)) == whole.total_bytes


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 50)])
async def test_sixteen_devices_and_two_hundred_models_leave_the_keys_on_the_screen(size: tuple[int, int]) -> None:
    engine = ScriptedEngine(with_gpus(with_models(scripted_state(), 200), 16))
    async with open_console(engine, size=size) as console:
        await console.sees("MODELS 200")
        await console.press("end")
        await console.sees("▸▐reranker-196")
        assert console.rows[1].startswith("  MODEL")
        assert console.app.screen.query("FooterKeys").first().region.bottom == size[1]
