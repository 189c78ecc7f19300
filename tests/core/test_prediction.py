"""What movements teach, and what is predicted from them."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.prediction import INSTANT, KEPT_SAMPLES, NOTHING, Movement, Prediction, Rates, learn, predict
from engine.core.sizes import MIB

GUESS = Rates(guess_bytes_per_s=1e9, overhead_s=0.01)

sizes = st.integers(1, 10**11)
seconds = st.floats(0, 1e4)
rates = st.builds(
    Rates,
    guess_bytes_per_s=st.floats(1e6, 1e15),
    overhead_s=st.floats(0, 1),
    samples=st.lists(st.builds(Movement, sizes, seconds), max_size=KEPT_SAMPLES).map(tuple),
)
predictions = st.builds(predict, rates, sizes)


def rates_after(*measured: tuple[int, float]) -> Rates:
    found = GUESS
    for size_bytes, took_s in measured:
        found = learn(found, size_bytes, took_s)
    return found


@given(rates, sizes)
def test_a_prediction_is_never_negative_and_its_bad_case_never_better_than_its_middle(known: Rates, size: int) -> None:
    found = predict(known, size)
    assert 0 <= found.p50_s <= found.p90_s


@given(predictions, predictions)
def test_so_are_two_together(one: Prediction, other: Prediction) -> None:
    after_each_other, at_once = one + other, one.beside(other)

    assert after_each_other.p50_s == one.p50_s + other.p50_s
    assert after_each_other.p50_s <= after_each_other.p90_s <= (one.p90_s + other.p90_s) * (1 + 1e-9)
    assert at_once.p50_s == max(one.p50_s, other.p50_s)
    assert at_once.p50_s <= at_once.p90_s


def test_nothing_adds_nothing() -> None:
    assert Prediction(1.0, 2.0) + NOTHING == Prediction(1.0, 2.0)
    assert sum((Prediction(1.0, 2.0), Prediction(1.0, 1.0)), NOTHING) == Prediction(2.0, 3.0)


def test_before_any_sample_the_guess_is_predicted_with_a_wide_range() -> None:
    found = predict(GUESS, 10**9)
    assert (found.p50_s, found.p90_s) == pytest.approx((1.01, 1.01 * 1.8))


def test_the_first_sample_counts_as_much_as_the_guess_and_three_replace_it() -> None:
    assert predict(rates_after((10**9, 2.02)), 10**9).p50_s == pytest.approx(1.515)
    assert predict(rates_after((10**9, 0.1), (10**9, 0.1), (10**9, 0.1)), 10**9).p50_s == pytest.approx(0.1)


def test_a_model_of_another_size_is_predicted_from_what_others_took() -> None:
    twice_as_fast = rates_after((10**9, 0.505), (2 * 10**9, 1.005), (4 * 10**9, 2.005))
    assert predict(twice_as_fast, 8 * 10**9).p50_s == pytest.approx(4.005)


def test_a_size_that_was_moved_often_enough_speaks_for_itself() -> None:
    known = rates_after((10**9, 0.5), (10**9, 0.5), (10**9, 0.5), (10**8, 0.4), (10**8, 0.4), (10**8, 0.4))

    assert predict(known, 10**9).p50_s == 0.5
    assert predict(known, 10**8).p50_s == 0.4


@given(st.lists(st.floats(0.9, 1.1), min_size=9, max_size=9), st.floats(0, 1e4), st.integers(0, 9))
def test_one_outlier_among_ten_samples_moves_the_middle_by_no_more_than_they_differ(
    usual: list[float], outlier: float, at: int
) -> None:
    known = rates_after(*((10**9, took_s) for took_s in [*usual[:at], outlier, *usual[at:]]))

    assert min(usual) <= predict(known, 10**9).p50_s <= max(usual)
    assert abs(predict(known, 10**9).p50_s - median(usual)) <= max(usual) - min(usual)


def test_few_samples_are_not_trusted_to_have_shown_the_worst() -> None:
    three = predict(rates_after(*[(10**9, 1.0)] * 3), 10**9)
    nine = predict(rates_after(*[(10**9, 1.0)] * 9), 10**9)

    assert (three.p50_s, three.p90_s) == pytest.approx((1.0, 1.6))
    assert (nine.p50_s, nine.p90_s) == pytest.approx((1.0, 1.0))


def test_of_many_samples_one_in_ten_is_over_the_bad_case() -> None:
    known = rates_after(*((10**9, 1 + number / 100) for number in range(9)))
    assert predict(known, 10**9).p90_s == pytest.approx(1.08)


def test_old_samples_are_forgotten() -> None:
    known = rates_after(*[(10**9, 9.0)] * KEPT_SAMPLES, *[(10**9, 1.0)] * KEPT_SAMPLES)
    assert predict(known, 10**9).p50_s == predict(known, 10**9).p90_s == 1.0


@pytest.mark.parametrize(("size_bytes", "took_s"), [(0, 1.0), (-MIB, 1.0), (MIB, -1.0)])
def test_what_can_t_have_happened_teaches_nothing(size_bytes: int, took_s: float) -> None:
    assert learn(GUESS, size_bytes, took_s) is GUESS


def test_what_takes_no_time_is_predicted_to_take_none_until_it_does() -> None:
    assert predict(INSTANT, 10**9).p90_s < 1e-5
    assert predict(learn(learn(INSTANT, 10**9, 0.5), 10**9, 0.5), 10**9).p50_s == pytest.approx(0.5)
