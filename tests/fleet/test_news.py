"""How often a fleet's snapshots come."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest

from engine.api import Snapshot, Updated
from engine.core.serialization import from_json, to_json
from fleet.engine import news_interval_s
from tests.fleet.fleets import Line, fleet_of
from tests.fleet_snapshots import boxes_of, busy_places, fleet_state
from tests.hand_clock import HandClock, settled
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.tui.busy_engines import with_models


async def _snapshots_in(seconds: float, models: int) -> int:
    """How many come, of boxes with so many models where something changes twenty times a second."""
    clock = HandClock()
    engine = ScriptedEngine(with_models(scripted_state(), models))
    async with fleet_of({"box1": Line(engine, clock), "box2": Line(ScriptedEngine(), clock)}, clock) as fleet:
        came = 0

        async def count() -> None:
            nonlocal came
            async with contextlib.aclosing(fleet.events()) as events:
                async for event in events:
                    came += isinstance(event, Updated)

        counting = asyncio.create_task(count())
        await settled()
        for _ in range(round(seconds * 20)):
            engine.add_notice("news")
            await settled()
            await clock.pass_by(0.05)
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
        return came


@pytest.mark.parametrize(("models", "least", "most"), [(4, 18, 21), (800, 9, 11), (3000, 5, 6)])
async def test_the_larger_a_snapshot_the_fewer_come_yet_one_a_second(models: int, least: int, most: int) -> None:
    assert least <= await _snapshots_in(5.0, models) <= most


@pytest.mark.parametrize(("boxes", "gpus", "models"), [(3, 2, 20), (10, 4, 50), (100, 4, 200)])
def test_a_second_of_snapshots_is_at_most_as_many_bytes_as_cost_a_reader_a_hundredth_of_a_core(
    boxes: int, gpus: int, models: int
) -> None:
    state = fleet_state(boxes, gpus, models, busy_places(boxes, gpus, models))
    snapshot = Snapshot(1, 1.0, state, boxes=boxes_of(state))
    bytes_per_s = len(to_json(Updated(snapshot))) / news_interval_s(snapshot)
    assert bytes_per_s < 1_100_000


def test_a_snapshot_says_nothing_that_every_reader_knows_and_is_not_searched_for_cycles() -> None:
    state = fleet_state(100, 4, 40, busy_places(100, 4, 40))
    said = to_json(Updated(Snapshot(1, 1.0, state, boxes=boxes_of(state))))
    items = len(state.devices) + len(state.models) + len(state.residents)
    assert len(said) < 400 * items
    # Beside the few that a device and a resident are made of: their names, numbers and empty tuples are not looked at anyway.
    gc.collect()
    before = len(gc.get_objects())
    read = from_json(said, Updated)
    assert len(gc.get_objects()) - before < 2 * items
    assert read.snapshot.state == state
