"""What a starting engine takes over from earlier runs and measurements."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from engine.core.commands import Load
from engine.core.models import Pin
from engine.core.plans import LoadStep, Plan
from engine.core.records import Phases, Record, Residency, Switch
from engine.doctor.copy_rates import Circumstances, CopyRates, keep
from engine.runtime.recall import last_residency, with_copy_rates, with_pins, with_rates
from tests.core.boxes import box, with_pin


def test_the_newest_residency_counts() -> None:
    older, newer = Residency(1.0, (("a", "gpu0"),), {}), Residency(2.0, (), {"a": None})

    assert last_residency([Record(1, older), Record(2, newer)]) == newer
    assert last_residency([]) is None


def test_pins_of_the_last_run_replace_the_catalogs_where_their_devices_still_exist() -> None:
    state = with_pin(box({"a": 10, "b": 10, "c": 10}), "c")
    restored = with_pins(state, Residency(1.0, (), {"a": "gpu1", "b": "gpu7"}))

    assert [restored.models[name].pin for name in "abc"] == [Pin("gpu1"), None, None]


def test_recorded_switches_teach_how_fast_a_device_is() -> None:
    state = box({"a": 100})
    plan = Plan(Load("a"), (LoadStep("a", "gpu0", 1, "ram"),), ())
    switch = Switch("1", plan, "operator", 0.0, 0.2, Phases(copy=0.1, bind=0.05, warm=0.05), tier="ram")
    taught = with_rates(state, [Record(1, switch)])

    assert taught.devices["gpu0"].copy_bytes_per_s == state.models["a"].footprint.weights_bytes / 0.1
    assert len(taught.devices["gpu0"].rates.seconds_per_byte) == 1
    assert taught.devices["gpu1"] == state.devices["gpu1"]


def test_copy_rates_that_were_measured_for_the_card_are_used_and_others_are_not(tmp_path: Path) -> None:
    state = box({"a": 100})
    rates = CopyRates(1 << 20, 12e9, 4e9, 12e9, 4e9)
    keep(tmp_path, Circumstances("GPU-1", "580", version("torch")), rates, 0.0)

    known = with_copy_rates(state, {"gpu0": "GPU-1"}, "580", tmp_path)
    updated_driver = with_copy_rates(state, {"gpu0": "GPU-1"}, "590", tmp_path)

    assert known.devices["gpu0"].copy_bytes_per_s == 12e9
    assert known.devices["gpu0"].rates.guess_bytes_per_s == 12e9
    assert updated_driver == state
