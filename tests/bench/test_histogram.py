"""Counts of times between the shortest and the longest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bench.statistics import histogram


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
