"""What is concluded from a handful of timings."""

from __future__ import annotations

from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bench.statistics import MedianChange, change_of_median, histogram, spread

timings = st.lists(st.floats(0.001, 100), min_size=1, max_size=30)


def test_a_spread_names_middle_tail_and_worst() -> None:
    found = spread([float(number) for number in range(100, 0, -1)])
    assert (found.count, found.p50, found.p95, found.largest) == (100, 50.5, 95.0, 100.0)


def test_the_tail_of_a_few_values_is_the_worst_of_them() -> None:
    assert spread([1.0, 9.0, 2.0]).p95 == 9.0


def test_no_values_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


@given(timings)
def test_middle_tail_and_worst_come_in_this_order(values: list[float]) -> None:
    found = spread(values)
    assert min(values) <= found.p50 <= found.p95 <= found.largest == max(values)


@pytest.mark.parametrize("values", [[], [0.0], [1.0, -1.0]])
def test_a_change_needs_times_above_zero_on_both_sides(values: list[float]) -> None:
    for before, after in ((values, [1.0]), ([1.0], values)):
        with pytest.raises(ValueError, match="above 0"):
            change_of_median(before, after)


def test_twice_the_time_is_a_change_of_one_and_more_than_chance() -> None:
    change = change_of_median([1.0, 1.01, 0.99, 1.02, 0.98], [2.0, 2.02, 1.98, 2.04, 1.96])
    assert change.share == pytest.approx(1.0)
    assert 0.9 < change.low <= change.share <= change.high < 1.1
    assert change.is_worse_than(0.1)


def test_one_slow_repeat_is_no_regression() -> None:
    change = change_of_median([1.0, 1.1, 0.9, 1.05, 0.95], [1.0, 1.1, 0.9, 1.05, 9.0])
    assert not change.is_worse_than(0.1)


def test_a_change_that_chance_explains_is_no_regression_however_large() -> None:
    assert not MedianChange(share=0.5, low=-0.1, high=1.0).is_worse_than(0.1)


def test_a_change_below_the_threshold_is_no_regression_however_sure() -> None:
    assert not MedianChange(share=0.05, low=0.04, high=0.06).is_worse_than(0.1)


def test_the_same_samples_always_give_the_same_interval() -> None:
    before, after = [1.0, 1.3, 0.8, 1.1], [1.2, 0.9, 1.4, 1.0]
    assert change_of_median(before, after) == change_of_median(before, after)


def test_each_time_is_counted_in_its_step() -> None:
    found = histogram([1.0, 1.1, 2.0, 5.0], steps=4)
    assert (found.low, found.high, found.counts) == (1.0, 5.0, (2, 1, 0, 1))


def test_times_that_are_all_equal_are_in_the_first_step() -> None:
    assert histogram([2.0, 2.0], steps=3).counts == (2, 0, 0)


def test_no_times_have_no_shape() -> None:
    with pytest.raises(ValueError, match="no values"):
        histogram([], steps=3)


@given(st.lists(st.floats(0.001, 100), min_size=1), st.integers(1, 40))
def test_every_time_is_counted_once(values: list[float], steps: int) -> None:
    found = histogram(values, steps)
    assert sum(found.counts) == len(values)
    assert len(found.counts) == steps


def test_of_many_values_the_interval_is_the_same_as_with_every_draw_made() -> None:
    random = Random(3)
    values = [random.lognormvariate(0, 0.5) for _ in range(301)]
    change = change_of_median(values, values)
    drawn = sorted(
        median(random.choices(values, k=301)) / median(random.choices(values, k=301)) - 1 for _ in range(1000)
    )
    assert change.share == 0
    assert change.low == pytest.approx(drawn[25], abs=0.02)
    assert change.high == pytest.approx(drawn[-26], abs=0.02)
