"""What runs teach of a model's footprint, and what they don't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.forecast.footprints import KEPT_RUNS, RunPeaks, came_short, fitted, learned_bytes, observed
from engine.core.models import Footprint
from engine.core.sizes import MIB

ESTIMATE = 100 * MIB
MEASURED = Footprint(400 * MIB, ESTIMATE, "measured")


def peaks_after(*runs: tuple[int, float], before: RunPeaks | None = None) -> RunPeaks:
    """Runs as (MiB at the peak, share of the limits)."""
    peaks = before or RunPeaks()
    for mib, filled in runs:
        peaks = observed(peaks, mib * MIB, filled)
    return peaks


def test_a_few_runs_teach_nothing_yet_but_are_shown() -> None:
    fit = fitted(MEASURED, ESTIMATE, [peaks_after(*[(12, 1.0)] * 18, (10, 0.1))], [])

    assert (fit.workspace_bytes, fit.label) == (ESTIMATE, "measured")
    assert fit.runs is not None
    assert (fit.runs.count, fit.runs.near_limits) == (19, 18)
    assert (fit.runs.least_bytes, fit.runs.most_bytes) == (10 * MIB, 12 * MIB)


def test_twenty_runs_near_the_limits_lower_the_footprint_to_their_95th_percentile_and_a_tenth() -> None:
    fit = fitted(MEASURED, ESTIMATE, [peaks_after(*[(40, 1.0)] * 20)], [])

    assert (fit.workspace_bytes, fit.label) == (44 * MIB, "learned")


def test_small_runs_never_lower_the_footprint_however_many_they_are() -> None:
    fit = fitted(MEASURED, ESTIMATE, [peaks_after(*[(3, 0.05)] * 500)], [])

    assert (fit.workspace_bytes, fit.label) == (ESTIMATE, "measured")


def test_small_runs_raise_a_footprint_that_was_estimated_too_low() -> None:
    fit = fitted(MEASURED, ESTIMATE, [peaks_after(*[(150, 0.5)] * 20)], [])

    assert (fit.workspace_bytes, fit.label) == (165 * MIB, "learned")


def test_a_maximal_run_after_many_small_ones_finds_what_it_was_promised() -> None:
    small = peaks_after(*[(3, 0.05)] * 500)

    assert learned_bytes(small, ESTIMATE) is None
    assert learned_bytes(peaks_after((60, 1.0), before=small), ESTIMATE) is None


def test_a_run_close_to_the_limits_is_taken_to_them_in_proportion() -> None:
    assert learned_bytes(peaks_after(*[(60, 0.8)] * 20), ESTIMATE) == 83 * MIB  # 60 ÷ 0.8 × 1.1, in whole MiB


def test_a_single_outlier_among_a_hundred_runs_does_not_set_the_footprint() -> None:
    assert learned_bytes(peaks_after((90, 1.0), *[(40, 1.0)] * 99), ESTIMATE) == 44 * MIB


def test_a_model_that_is_used_differently_is_soon_charged_differently() -> None:
    peaks = peaks_after(*[(40, 1.0)] * 300, *[(20, 1.0)] * KEPT_RUNS)

    assert learned_bytes(peaks, ESTIMATE) == 22 * MIB
    assert peaks.count == 300 + KEPT_RUNS


def test_a_run_that_came_short_doubles_the_charge_and_discards_what_was_learned() -> None:
    short = came_short(44 * MIB)

    assert short.at_limits == ()
    assert learned_bytes(short, 30 * MIB) == 88 * MIB
    assert learned_bytes(short, ESTIMATE) is None  # the estimate is more


def test_twenty_runs_near_the_limits_since_then_are_believed_again() -> None:
    assert learned_bytes(peaks_after(*[(40, 1.0)] * 20, before=came_short(ESTIMATE)), ESTIMATE) == 44 * MIB


def test_on_a_box_with_two_kinds_of_cards_the_one_that_needs_more_decides() -> None:
    frugal, lavish, unknown = peaks_after(*[(40, 1.0)] * 20), peaks_after(*[(50, 1.0)] * 20), RunPeaks()

    assert fitted(MEASURED, ESTIMATE, [frugal, lavish], []).workspace_bytes == 55 * MIB
    assert fitted(MEASURED, ESTIMATE, [frugal, unknown], []) == fitted(MEASURED, ESTIMATE, [unknown, frugal], [])
    assert fitted(MEASURED, ESTIMATE, [frugal, unknown], []).workspace_bytes == ESTIMATE


def test_a_shortage_on_a_device_that_measures_nothing_counts_too() -> None:
    fit = fitted(MEASURED, ESTIMATE, [], [came_short(ESTIMATE)])

    assert (fit.workspace_bytes, fit.label) == (2 * ESTIMATE, "learned")


@given(
    st.lists(st.tuples(st.integers(0, 1 << 34), st.floats(0.0, 1.0)), max_size=60),
    st.integers(0, 1 << 34),
    st.integers(0, 1 << 34),
)
def test_a_footprint_is_whole_pages_and_covers_the_estimate_or_twenty_full_runs(
    runs: list[tuple[int, float]], weights_bytes: int, estimated_bytes: int
) -> None:
    peaks = RunPeaks()
    for workspace_bytes, filled in runs:
        peaks = observed(peaks, workspace_bytes, filled)
    fit = fitted(Footprint(weights_bytes, estimated_bytes), estimated_bytes, [peaks], [])

    assert fit.total_bytes % 4096 == 0
    assert fit.weights_bytes == weights_bytes
    assert fit.workspace_bytes >= estimated_bytes or len(peaks.at_limits) >= 20


@pytest.mark.parametrize("filled", [0.0, 0.74])
def test_a_run_away_from_the_limits_says_nothing_of_them(filled: float) -> None:
    assert peaks_after((10, filled)).at_limits == ()
