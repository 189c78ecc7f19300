"""What a switch teaches, and what loads and evictions are predicted to take by it."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace

from engine.core.commands import Batch, Load
from engine.core.forecast.calibration import learned, warmed
from engine.core.forecast.costs import eviction, load_step, load_step_now, reload_s
from engine.core.ledger import advance, lose_worker
from engine.core.names import CPU, DeviceId
from engine.core.plans import EvictStep, LoadStep, Plan, Step, Tier
from engine.core.prediction import predict
from engine.core.records import Phases, Switch
from engine.core.sizes import MIB
from engine.core.state import State
from tests.core.boxes import box, with_resident, with_slab


def switch_of(
    *steps: Step, tier: Tier | None = "ram", outcome: Literal["done", "failed"] = "done", **phases: float
) -> Switch:
    measured = Phases(**phases)
    plan = Plan(Load("a"), steps, ())
    return Switch("1", plan, "operator", 0.0, measured.total_s, measured, outcome, tier=tier)


def load(device: DeviceId = "gpu0", model: str = "a") -> LoadStep:
    return LoadStep(model, device, 100 * MIB, "ram")


def after_switches(state: State, *switches: Switch) -> State:
    """By three of each, so that the guess counts no more."""
    for switch in switches:
        for _ in range(3):
            state = learned(state, switch)
    return state


def test_a_load_from_ram_is_predicted_as_its_copy_and_its_binding() -> None:
    state = warmed(with_slab(box({"a": 100}), "a"), "a", "gpu0")
    state = after_switches(state, switch_of(load(), copy=0.2, bind=0.01))

    assert load_step(state, "a", "gpu0").predicted.p50_s == pytest.approx(0.21)
    assert state.devices["gpu0"].copy_bytes_per_s == pytest.approx(100 * MIB / 0.2)
    assert state.devices["gpu1"] == box({"a": 100}).devices["gpu1"]


def test_a_model_that_is_new_to_its_worker_pays_for_its_first_run() -> None:
    state = with_slab(box({"a": 100}), "a")
    state = after_switches(
        state, switch_of(load(), copy=0.2, bind=0.04, warm=0.06), switch_of(load(), copy=0.2, bind=0.01)
    )
    known = warmed(state, "a", "gpu0")

    assert load_step(state, "a", "gpu0").predicted.p50_s == pytest.approx(0.3)
    assert load_step(known, "a", "gpu0").predicted.p50_s == pytest.approx(0.21)
    assert load_step(lose_worker(known, "gpu0"), "a", "gpu0").predicted.p50_s == pytest.approx(0.3)


@pytest.mark.parametrize(("read_s", "expected_s"), [(0.5, 0.51), (0.05, 0.21)])
def test_a_load_from_disk_takes_as_long_as_the_slower_of_reading_and_copying(read_s: float, expected_s: float) -> None:
    state = warmed(with_slab(box({"a": 100}), "a"), "a", "gpu0")
    state = after_switches(state, switch_of(load(), copy=0.2, bind=0.01))
    state = replace(state, ram=replace(state.ram, slabs=()))
    state = after_switches(state, switch_of(load("gpu1"), tier="disk", read=read_s, copy=0.001))

    assert load_step(state, "a", "gpu0").predicted.p50_s == pytest.approx(expected_s)


def test_a_load_from_disk_shows_that_a_copy_takes_no_longer() -> None:
    state = warmed(box({"a": 100}), "a", "gpu0")
    quick = after_switches(state, switch_of(load(), tier="disk", read=0.02, copy=0.001))
    slow = after_switches(state, switch_of(load(), tier="disk", read=9.0, copy=0.001))

    assert load_step(with_slab(quick, "a"), "a", "gpu0").predicted.p50_s == pytest.approx(0.021)
    assert slow.devices["gpu0"].rates == state.devices["gpu0"].rates
    assert quick.devices["gpu0"].copy_bytes_per_s is None, "no floor may be computed from it"


def test_once_a_copy_was_measured_a_load_from_disk_teaches_nothing_of_it() -> None:
    state = after_switches(box({"a": 100}), switch_of(load(), copy=0.2, bind=0.01))
    assert (
        learned(state, switch_of(load(), tier="disk", read=0.02)).devices["gpu0"].rates == state.devices["gpu0"].rates
    )


def test_preparing_is_learned_apart_from_reading() -> None:
    state = warmed(box({"a": 100}), "a", "gpu0")
    state = after_switches(state, switch_of(load(), tier="source", read=7.0), switch_of(load(), tier="disk", read=0.5))
    raw = replace(state, models={"a": replace(state.models["a"], prepared=False)})

    assert load_step(raw, "a", "gpu0").predicted.p50_s == pytest.approx(7.0)
    assert load_step(state, "a", "gpu0").predicted.p50_s == pytest.approx(0.5)


def test_a_load_from_disk_waits_for_the_rest_of_anothers_reading_but_a_later_one_will_not() -> None:
    state = with_resident(box({"a": 100, "b": 100}), "b", "gpu1", stage="loading")
    alone = load_step_now(state, "a", "gpu0").predicted.p50_s
    reading = replace(with_slab(state, "b").ram.slabs[0], stage="filling")
    busy = replace(state, ram=replace(state.ram, slabs=(reading,)))
    half_done = advance(busy, "b", "gpu1", 0.5)
    ahead = replace(busy, ram=replace(busy.ram, slabs=(replace(reading, ahead="somebody may ask for it"),)))

    reading_s = predict(state.disk, reading.size_bytes).p50_s
    assert load_step_now(busy, "a", "gpu0").predicted.p50_s == pytest.approx(alone + reading_s)
    assert load_step_now(half_done, "a", "gpu0").predicted.p50_s == pytest.approx(alone + reading_s / 2)
    assert load_step_now(ahead, "a", "gpu0").predicted.p50_s == alone, "it gives way"
    assert (
        load_step_now(with_slab(busy, "a"), "a", "gpu0").predicted
        == load_step_now(with_slab(state, "a"), "a", "gpu0").predicted
    )
    resident = with_resident(busy, "a", "gpu0").residents[-1]
    assert reload_s(busy, resident) == reload_s(state, resident)


def test_a_reading_that_began_before_its_phase_teaches_nothing_of_the_disk() -> None:
    state = box({"a": 100, "b": 100})
    assert learned(state, switch_of(load(), tier="disk", read=0.001, drain=3.0)).disk == state.disk
    assert learned(state, switch_of(load(), tier="disk", read=0.001, settle=3.0)).disk == state.disk
    written_back = EvictStep("b", "gpu0", 100 * MIB, written_back=True)
    assert learned(state, switch_of(written_back, load(), tier="disk", evict=3.0)).disk == state.disk


def test_the_fastest_reading_is_kept_whenever_it_began() -> None:
    state = box({"a": 100})
    for reading_s, drain_s in ((0.5, 0.0), (0.4, 3.0), (2.0, 0.0)):
        state = learned(state, replace(switch_of(load(), tier="disk", drain=drain_s, read=0.01), reading_s=reading_s))

    assert state.disk_bytes_per_s == pytest.approx(100 * MIB / 0.4)


def test_a_phase_alone_does_not_tell_how_fast_the_disk_is() -> None:
    state = box({"a": 100})
    for switch in (switch_of(load(), tier="source", read=0.01), switch_of(load(), tier="disk", read=0.01)):
        assert learned(state, switch).disk_bytes_per_s is None


def test_an_eviction_is_predicted_from_what_evictions_took_each_its_share() -> None:
    leaving = [EvictStep(name, "gpu0", 100 * MIB) for name in ("a", "b")]
    state = after_switches(box({"a": 100, "b": 100}), switch_of(*leaving, tier=None, evict=0.06))

    assert eviction(state, "a", "gpu0").p50_s == pytest.approx(0.03)
    assert eviction(state, "a", "gpu1").p50_s == pytest.approx(0.0, abs=1e-6)


def test_an_eviction_that_copied_its_model_back_teaches_nothing_of_the_others() -> None:
    state = box({"a": 100, "b": 100})
    written_back, left = EvictStep("a", "gpu0", 100 * MIB, written_back=True), EvictStep("b", "gpu0", 100 * MIB)
    assert learned(state, switch_of(written_back, left, tier=None, evict=0.5)) == state


def test_the_cpu_moves_no_bytes_and_learns_its_binding() -> None:
    state = after_switches(with_slab(box({"a": 100}), "a"), switch_of(load(CPU), bind=0.03, warm=0.05))

    assert load_step(state, "a", CPU).predicted.p50_s == pytest.approx(0.08)
    assert state.devices[CPU].rates == box({"a": 100}).devices[CPU].rates


def test_what_came_to_nothing_teaches_nothing() -> None:
    state = box({"a": 100})
    assert learned(state, switch_of(load(), outcome="failed", copy=9.0)) is state


def test_what_met_with_a_mishap_on_its_way_teaches_nothing() -> None:
    state = box({"a": 100})
    assert learned(state, replace(switch_of(load(), copy=121.0), reason="loading a took too long")) is state


def test_several_loads_in_one_switch_can_t_be_told_apart() -> None:
    state = box({"a": 100, "b": 100})
    switch = switch_of(load(), load(model="b"), copy=1.0)
    both = replace(switch, plan=replace(switch.plan, command=Batch("two", (Load("a"), Load("b")))))

    assert learned(state, both) is state


def test_what_the_configuration_no_longer_holds_is_passed_over() -> None:
    state = box({"a": 100})
    gone = switch_of(EvictStep("gone", "gpu0", MIB), load("gpu7"), copy=1.0, evict=1.0)

    assert learned(state, gone) == state
