"""The figures behind the document: what counts, and what does not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.records import Switch
from engine.core.sizes import MIB
from engine.recording.demand import OwnDemand
from engine.recording.memory import EngineFacts, Sample
from engine.recording.trace import TraceRequest
from engine.results.criteria import Criterion, criteria
from engine.results.figures import (
    calibrations,
    device_uses,
    fallbacks,
    latencies,
    loads_by_device,
    monitoring,
    pressure,
)
from engine.results.recorded import ReportRecords
from tests.results.engine_records import BEGAN_S, engine_facts, sample, switch

QUIET = [sample(30 * number, 256, 0) for number in range(12)]


def recorded(
    samples: list[Sample], switches: list[Switch] | None = None, engines: tuple[EngineFacts, ...] = (engine_facts(),)
) -> ReportRecords:
    return ReportRecords(engines, tuple(samples), tuple(switches or ()), None)


def verdicts(found: ReportRecords) -> dict[str, Criterion]:
    return {criterion.name: criterion for criterion in criteria(found)}


def test_utilisation_is_weighted_by_time() -> None:
    uses = device_uses([sample(0, 512, 0), sample(30, 0, 0), sample(40, 0, 0)], [engine_facts()])

    gpu0 = uses[0]
    assert gpu0.of_budget.mean == pytest.approx(0.75)
    assert (gpu0.device, gpu0.of_budget.peak) == ("gpu0", 1.0)
    assert gpu0.of_total is not None
    assert gpu0.of_total.peak == pytest.approx(0.8)


def test_pressure_lasts_from_one_eviction_for_room_to_the_next_within_a_minute() -> None:
    samples = [sample(second, 512 if second < 20 else 0, 0) for second in range(0, 200, 5)]
    evictions = [switch(after_s, victim="small", queue_s=0, copy_s=0) for after_s in (0, 40, 170)]

    found = pressure(samples, [engine_facts()], evictions)

    assert found is not None
    assert found.of_budget.seconds == 40.0
    assert found.of_budget.mean == pytest.approx(15 / 40 / 2)


def test_a_lone_eviction_and_loads_into_free_room_are_no_pressure() -> None:
    switches = [switch(0, victim="small"), switch(10), switch(20)]
    assert pressure(QUIET, [engine_facts()], switches) is None


def test_the_time_between_two_engines_is_nobodys() -> None:
    engines = (engine_facts(), engine_facts(BEGAN_S + 3600))
    found = monitoring([sample(0, 0, 0), sample(30, 0, 0), sample(3601, 0, 0)], engines)

    assert found is not None
    assert (found.longest_gap_s, found.gaps) == (30.0, 0)


def test_a_sample_that_comes_late_fails_the_monitoring() -> None:
    late = [*QUIET, sample(30 * 11 + 100, 0, 0)]

    assert verdicts(recorded(QUIET))["Real-time monitoring"].verdict == "PASS"
    assert verdicts(recorded(late))["Real-time monitoring"].verdict == "FAIL"


def test_old_figures_fail_the_monitoring() -> None:
    stale = [sample(30 * number, 0, 0, age_s=9.0) for number in range(12)]
    assert verdicts(recorded(stale))["Real-time monitoring"].verdict == "FAIL"


def test_waits_are_no_part_of_the_switching_time_and_are_told_beside_it() -> None:
    waited = [switch(number, queue_s=10.0) for number in range(20)]
    slow = [switch(number, copy_s=3.0) for number in range(20)]

    passed = verdicts(recorded(QUIET, waited))["Switching time"]
    assert passed.verdict == "PASS"
    assert "p95 10.15 s with the waits" in passed.figure
    assert verdicts(recorded(QUIET, slow))["Switching time"].verdict == "FAIL"


def test_preparing_a_model_once_is_no_switch() -> None:
    first = [switch(number, tier="source", copy_s=9.0) for number in range(20)]
    assert verdicts(recorded(QUIET, first))["Switching time"].verdict == "not enough data"


def test_too_little_filled_memory_under_pressure_fails() -> None:
    samples = [sample(second, 256, 256) for second in range(60)]
    evictions = [switch(second, victim="small") for second in range(60)]
    assert verdicts(recorded(samples, evictions))["Utilisation under pressure"].verdict == "FAIL"


@pytest.mark.parametrize(
    ("asked", "blame"),
    [
        # gpu0 and gpu1 have room for 512 MiB each: with the small one beside the large one there is no third to fill the rest
        (
            ("small", "large"),
            "could have filled 60.4 % at best, so the sizes allow no more: with small no more than 60.4 %",
        ),
        (("large", "small", "middle"), "could have filled 96.5 % at best, so it is the policy that left room empty"),
    ],
)
def test_a_failure_says_whether_the_policy_or_the_sizes_are_to_blame(asked: tuple[str, ...], blame: str) -> None:
    facts = engine_facts()
    models = {"small": 138, "large": 480, "middle": 370}
    known = tuple(replace(facts.models[0], name=name, footprint_bytes=mib * MIB) for name, mib in models.items())
    samples = [sample(second, 0, 0) for second in range(60)]
    demand = OwnDemand(0.0, tuple(TraceRequest(float(at), model, 1.0) for at, model in enumerate(asked)))
    found = ReportRecords(
        (replace(facts, models=known),), tuple(samples), tuple(switch(at, victim="small") for at in range(60)), demand
    )

    assert blame in verdicts(found)["Utilisation under pressure"].figure


def test_latencies_are_kept_apart_by_model_and_tier() -> None:
    found = latencies(
        [switch(0), switch(1, copy_s=0.3), switch(2, tier="disk"), switch(3, "small"), switch(4, device="cpu")]
    )

    assert [(one.model, one.tier, one.moving.count) for one in found] == [
        ("large", "disk", 1),
        ("large", "ram", 2),
        ("small", "ram", 1),
    ]
    assert found[1].moving.p50 == pytest.approx(0.25)


def test_predictions_are_held_against_what_was_measured_without_the_waits() -> None:
    (found,) = calibrations([switch(0, copy_s=0.15), switch(1, copy_s=0.05), switch(2, copy_s=0.45)])

    assert found.switches == 3
    assert found.within_p90 == pytest.approx(2 / 3)
    assert found.median_ratio == pytest.approx(1.0)


def test_predictions_are_judged_by_the_tier_where_the_load_started() -> None:
    found = calibrations([switch(0, tier="source", copy_s=9.0), switch(1, tier="disk", copy_s=0.35), switch(2)])

    assert [(one.tier, one.within_p90) for one in found] == [("ram", 1.0), ("disk", 0.0), ("source", 0.0)]


def test_fallbacks_that_a_restart_only_brought_back_do_not_count() -> None:
    found = fallbacks(
        [switch(0, device="cpu"), switch(1, device="cpu", origin="operator"), switch(2, device="cpu", origin="restore")]
    )

    assert [(one.model, one.by_itself, one.asked_for, one.failed) for one in found] == [("large", 1, 1, 0)]


def test_a_fallback_that_failed_fails_the_criterion() -> None:
    broken = [switch(0, device="cpu"), switch(1, device="cpu", outcome="failed")]
    assert verdicts(recorded(QUIET, broken))["CPU fallback"].verdict == "FAIL"


def test_loads_are_counted_where_they_went() -> None:
    assert loads_by_device([switch(0), switch(1, device="gpu1"), switch(2), switch(3, outcome="failed")]) == {
        "gpu0": 2,
        "gpu1": 1,
    }
