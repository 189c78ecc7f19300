"""How much memory a starting engine touches ahead of its first use."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.sizes import GIB
from engine.runtime.start import MOST_BYTES, touched_ahead
from tests.core.boxes import box


def test_the_ram_tier_and_every_device_in_host_ram_get_their_share_of_plenty() -> None:
    state = box({"a": 40}, {"gpu0": 10_000, "gpu1": 100})
    ahead = touched_ahead(state, 100 * GIB)
    assert ahead.ram_tier_bytes == MOST_BYTES
    assert ahead.device_bytes["gpu0"] == MOST_BYTES
    assert ahead.device_bytes["gpu1"] == int(
        state.devices["gpu1"].spec.total_bytes * state.devices["gpu1"].spec.fraction
    )


def test_a_small_tier_is_touched_as_far_as_it_reaches() -> None:
    state = box({"a": 40})
    assert touched_ahead(replace(state, ram=replace(state.ram, budget_bytes=4096)), 100 * GIB).ram_tier_bytes == 4096


def test_of_little_memory_only_a_part_is_taken_and_the_ram_tier_comes_first() -> None:
    ahead = touched_ahead(box({"a": 40}, {"gpu0": 10_000}), 2 * GIB)
    assert ahead.ram_tier_bytes == GIB // 2
    assert ahead.device_bytes["gpu0"] == 0


def test_the_cpu_has_no_memory_of_its_own_to_touch() -> None:
    assert "cpu" not in touched_ahead(box({"a": 40}), 100 * GIB).device_bytes
