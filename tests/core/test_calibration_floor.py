"""What a switch's efficiency is measured against."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.commands import Batch, Load
from engine.core.forecast.calibration import floor_s
from engine.core.names import CPU, DeviceId
from engine.core.plans import LoadStep, Plan, Tier
from engine.core.records import Phases, Switch
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import box


def measured_box(*, copy: float | None = 1000, disk: float | None = 100) -> State:
    """Models of 100 MiB; copies to gpu0, and readings, measured at so many MiB/s."""
    state = box({"a": 100, "b": 100})
    copy_rate, disk_rate = (None if rate is None else rate * MIB for rate in (copy, disk))
    gpu = replace(state.devices["gpu0"], copy_bytes_per_s=copy_rate)
    return replace(state, devices={**state.devices, "gpu0": gpu}, disk_bytes_per_s=disk_rate)


def load(device: DeviceId = "gpu0", model: str = "a", tier: Tier = "ram") -> LoadStep:
    return LoadStep(model, device, 100 * MIB, tier)


def switch_of(*loads: LoadStep, tier: Tier | None, read: float = 2.0, reading_s: float | None = None) -> Switch:
    plan = Plan(Batch("some", tuple(Load(one.model) for one in loads)), loads, ())
    return Switch("1", plan, "operator", 0.0, read, Phases(read=read), tier=tier, reading_s=reading_s)


def test_a_load_from_the_ram_tier_needs_its_copy() -> None:
    assert floor_s(measured_box(), switch_of(load(), tier="ram")) == pytest.approx(0.1)


def test_a_load_from_disk_needs_its_reading_beside_which_it_is_copied() -> None:
    assert floor_s(measured_box(), switch_of(load(), tier="disk")) == pytest.approx(1.0)


def test_a_disk_that_is_faster_than_the_bus_leaves_the_copy() -> None:
    assert floor_s(measured_box(disk=5000), switch_of(load(), tier="disk")) == pytest.approx(0.1)


def test_what_was_read_before_anybody_waited_is_taken_off() -> None:
    assert floor_s(measured_box(), switch_of(load(), tier="disk", read=0.9, reading_s=1.2)) == pytest.approx(0.7)
    assert floor_s(measured_box(), switch_of(load(), tier="disk", read=0.0, reading_s=1.2)) == pytest.approx(0.1)


def test_of_a_model_that_was_prepared_first_the_copy_alone_counts() -> None:
    assert floor_s(measured_box(), switch_of(load(), tier="source")) == pytest.approx(0.1)


def test_the_cpu_needs_the_reading_alone() -> None:
    assert floor_s(measured_box(), switch_of(load(CPU), tier="disk")) == pytest.approx(1.0)
    assert floor_s(measured_box(), switch_of(load(CPU), tier="ram")) is None


@pytest.mark.parametrize("state", [measured_box(copy=None), measured_box(disk=None)], ids=["copy", "reading"])
def test_nothing_is_said_before_all_that_it_takes_was_measured(state: State) -> None:
    assert floor_s(state, switch_of(load(), tier="disk")) is None


def test_several_loads_need_their_sum_each_from_where_it_was_planned_to_start() -> None:
    state = measured_box()
    assert floor_s(state, switch_of(load(), load(model="b", tier="disk"), tier="ram")) == pytest.approx(1.1)
    assert floor_s(state, switch_of(load(), load("gpu1", "b"), tier="ram")) is None


def test_a_switch_without_loads_has_none() -> None:
    assert floor_s(measured_box(), switch_of(tier=None)) is None
