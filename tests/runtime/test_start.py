"""How much memory a starting engine touches ahead of its first use, and whether it keeps what was touched."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.commands import Load
from engine.core.planning.planner import plan
from engine.core.plans import Plan
from engine.core.policy import Policy
from engine.core.records import Entry, Notice, Phases, Record, Switch
from engine.core.sizes import GIB, MIB
from engine.runtime.start import MOST_BYTES, keeps_pages, loaded_before, touched_ahead
from tests.core.boxes import NOW_S, box


def test_where_nobody_has_wanted_a_model_nothing_is_touched() -> None:
    ahead = touched_ahead(box({"a": 40}, {"gpu0": 10_000}), (), 100 * GIB)
    assert (ahead.ram_tier_bytes, ahead.device_bytes) == (0, {"gpu0": 0})


def test_what_was_wanted_before_gets_its_room_and_no_more() -> None:
    state = box({"a": 40, "b": 30, "c": 900}, {"gpu0": 10_000, "gpu1": 50})
    ahead = touched_ahead(state, {"a", "b", "one that the catalog lost"}, 100 * GIB)
    assert ahead.ram_tier_bytes == 70 * MIB
    assert ahead.device_bytes == {"gpu0": 70 * MIB, "gpu1": 40 * MIB}


def test_much_demand_is_touched_up_to_a_bound() -> None:
    ahead = touched_ahead(box({"a": 4000}, {"gpu0": 10_000}), {"a"}, 100 * GIB)
    assert (ahead.ram_tier_bytes, ahead.device_bytes["gpu0"]) == (MOST_BYTES, MOST_BYTES)


def test_a_small_tier_is_touched_as_far_as_it_reaches() -> None:
    state = box({"a": 40})
    small = replace(state, ram=replace(state.ram, budget_bytes=4096))
    assert touched_ahead(small, {"a"}, 100 * GIB).ram_tier_bytes == 4096


def test_of_little_memory_only_a_part_is_taken_and_the_ram_tier_comes_first() -> None:
    ahead = touched_ahead(box({"a": 4000}, {"gpu0": 10_000}), {"a"}, 2 * GIB)
    assert ahead.ram_tier_bytes == GIB // 2
    assert ahead.device_bytes["gpu0"] == 0


def test_the_cpu_has_no_memory_of_its_own_to_touch() -> None:
    assert "cpu" not in touched_ahead(box({"a": 40}), {"a"}, 100 * GIB).device_bytes


def test_the_record_tells_who_was_loaded() -> None:
    state = box({"a": 40, "b": 30})
    loading = plan(state, Load("b"), Policy(), NOW_S)
    assert isinstance(loading, Plan)
    entries: tuple[Entry, ...] = (
        Notice(NOW_S, "info", "the engine has started"),
        Switch("1", loading, "operator", NOW_S, 1.0, Phases()),
    )
    assert loaded_before([Record(number, entry) for number, entry in enumerate(entries)]) == {"b"}


def test_touched_memory_is_kept_only_where_the_host_has_twice_what_may_be_taken() -> None:
    state = box({"a": 40}, {"gpu0": 1000})
    small = replace(state, ram=replace(state.ram, budget_bytes=1000 * MIB))
    assert keeps_pages(small, 4000 * MIB)
    assert not keeps_pages(small, 3999 * MIB)
