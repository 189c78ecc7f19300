"""How full a budget was is a mean over time, and the most that it ever was."""

from __future__ import annotations

from engine.core.insight.budget_use import BudgetMeter, BudgetUse, gpus_share
from tests.core.boxes import box


def test_a_share_holds_until_the_next_one_however_often_somebody_looks() -> None:
    meter = BudgetMeter()

    meter.note(0.5, at_s=100.0)
    meter.note(1.0, at_s=130.0)
    meter.note(1.0, at_s=135.0)
    meter.pass_until(140.0)

    assert meter.use == BudgetUse(mean=0.625, peak=1.0, seconds=40.0)


def test_times_with_gaps_between_them_count_by_their_length() -> None:
    meter = BudgetMeter()

    meter.hold(0.25, 30.0)
    meter.hold(0.75, 10.0)

    assert meter.use == BudgetUse(mean=0.375, peak=0.75, seconds=40.0)


def test_while_no_time_has_passed_nothing_is_known() -> None:
    meter = BudgetMeter()
    meter.pass_until(5.0)
    assert meter.use is None

    meter.note(0.5, at_s=10.0)

    assert meter.use is None


def test_where_there_is_no_gpu_there_is_no_share() -> None:
    assert gpus_share(box({"a": 1}, {})) is None
