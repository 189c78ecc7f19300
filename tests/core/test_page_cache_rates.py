"""Slabs in the host's page cache are read at its speed, others at that of the disk: each is learned from its own readings."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.commands import Load
from engine.core.forecast.calibration import learned
from engine.core.forecast.costs import load_time, reading
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.records import Phases, Switch
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import NOW_S, box

SIZE = 60 * MIB


def taught(state: State, seconds: float, *, cached: bool) -> State:
    """After three loads of `a` that read for so long."""
    found = plan(state, Load("a", "gpu0"), Policy(), NOW_S)
    assert isinstance(found, Plan)
    phases = Phases(read=seconds)
    switch = Switch(
        "1", found, "operator", NOW_S, seconds, phases, tier="disk", reading_s=seconds, from_page_cache=cached
    )
    for _ in range(3):
        state = learned(state, switch)
    return state


def in_page_cache(state: State, *, is_in: bool = True) -> State:
    return replace(state, models={**state.models, "a": replace(state.models["a"], in_page_cache=is_in)})


def test_each_path_is_learned_from_its_own_readings() -> None:
    state = taught(taught(box({"a": 60}), 2.0, cached=False), 0.1, cached=True)
    assert reading(state, "a", SIZE).p50_s == pytest.approx(2.0)
    assert reading(in_page_cache(state), "a", SIZE).p50_s == pytest.approx(0.1)
    assert (
        load_time(in_page_cache(state), "a", "gpu0", "disk").p50_s < 0.5 < load_time(state, "a", "gpu0", "disk").p50_s
    )


def test_before_anything_was_read_from_the_page_cache_it_is_taken_to_be_as_slow_as_the_disk() -> None:
    state = taught(box({"a": 60}), 2.0, cached=False)
    assert reading(in_page_cache(state), "a", SIZE).p50_s == pytest.approx(2.0)


def test_cold_readings_teach_nothing_of_the_page_cache_and_warm_ones_nothing_of_the_disk() -> None:
    warm = taught(box({"a": 60}), 0.1, cached=True)
    assert warm.disk == box({"a": 60}).disk
    cold = taught(box({"a": 60}), 2.0, cached=False)
    assert cold.page_cache is None
