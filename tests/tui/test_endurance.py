"""The console may stay open: after its first hour it holds no more than before, and an update is no more work."""

from __future__ import annotations

from statistics import median
from typing import Final

import pytest

from citadel_tui.viewmodel.history import KEPT
from citadel_tui.words.alerts import KEPT_RECORDS
from tests.tui.accelerated_day import Day, day

STEP_S: Final = 10
SAMPLES: Final = 9


async def work(day: Day) -> float:
    """Function calls of the usual update."""
    return median([await day.calls_of_an_update() for _ in range(SAMPLES)])


async def test_after_the_first_hour_memory_widgets_and_the_work_of_an_update_stay_as_they_are() -> None:
    async with day() as console:
        await console.pass_hour(STEP_S)
        before, work_before = console.holding(), await work(console)
        await console.pass_hour(STEP_S)
        after, work_after = console.holding(), await work(console)
    assert after.blocks == pytest.approx(before.blocks, rel=0.02)
    assert (after.widgets, after.records, after.buckets) == (before.widgets, KEPT_RECORDS, KEPT)
    assert work_after == pytest.approx(work_before, rel=0.02)
