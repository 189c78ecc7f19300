"""A fleet of three boxes and one of a hundred, at two sizes, as the text of the painted screen."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from engine.core.boxes import BoxView
from engine.core.records import Notice
from tests.fleet_snapshots import DRAINED, GONE, NEVER, OTHER, SILENT, ScriptedFleet, busy_places, fleet_state
from tests.scripted_plans import START_S
from tests.tui.consoles import open_console

SIZES = ((80, 24), (160, 50))
STANDINGS: dict[str, dict[str, BoxView]] = {
    "ready": {},
    "silent": {"box2": SILENT},
    "mixed": {"box2": GONE, "box3": DRAINED, "box4": OTHER, "box5": NEVER},
}


@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_three_boxes(snapshot: SnapshotAssertion, size: tuple[int, int], standing: str) -> None:
    fleet = ScriptedFleet(None, **STANDINGS[standing])
    fleet.add_entry(Notice(START_S, "info", "box1: the engine has started"))
    async with open_console(fleet, size=size) as console:
        await console.sees("MODELS 4")
        await console.settles()
        assert console.painted == snapshot


@pytest.mark.parametrize("keys", ["", "d", "dd"])
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_hundred_boxes(snapshot: SnapshotAssertion, size: tuple[int, int], keys: str) -> None:
    state = fleet_state(100, 4, 40, busy_places(100, 4, 40))
    async with open_console(ScriptedFleet(state, box7=SILENT, box60=GONE), size=size) as console:
        await console.sees("MODELS 40")
        await console.settles()
        await console.press(*keys)
        await console.settles()
        assert console.painted == snapshot


@pytest.mark.parametrize("key", ["w", "m", "1", "exclamation_mark", "colon"])
async def test_pages_over_three_boxes(snapshot: SnapshotAssertion, key: str) -> None:
    async with open_console(ScriptedFleet(box2=SILENT), size=(80, 24)) as console:
        await console.sees("MODELS 4")
        await console.press(key)
        await console.settles()
        assert console.painted == snapshot
