"""The rows of the screen, shared out: all of them are used, and what is there is shown before anything is blank."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from citadel_tui.viewmodel.dashboard.row_budget import Wants, shared_rows

counts = st.integers(0, 60)
wants = st.builds(
    Wants,
    devices=st.integers(2, 45),
    models=st.integers(2, 400),
    log=st.integers(1, 300),
    programs=st.just(0) | st.integers(3, 8),
    lower=st.just(8),
    lower_least=st.sampled_from((0, 4)),
    unfolded=st.booleans(),
)


@given(st.integers(0, 80), wants)
def test_every_row_is_given_to_somebody(rows: int, found: Wants) -> None:
    given_rows = shared_rows(rows, found, rows // 2)
    assert sum(given_rows.values()) == rows
    assert all(size >= 0 for size in given_rows.values())


@given(st.integers(0, 80), wants)
def test_nothing_is_blank_while_a_device_or_a_model_is_hidden(rows: int, found: Wants) -> None:
    given_rows = shared_rows(rows, found, rows // 2)
    assert given_rows["devices"] <= found.devices
    assert given_rows["models"] <= found.models
    if given_rows["log"] > found.log:
        assert given_rows["devices"] == found.devices
        assert given_rows["models"] == found.models


@given(st.integers(9, 80), wants)
def test_whatever_there_is_has_some_rows_whoever_else_wants_them(rows: int, found: Wants) -> None:
    given_rows = shared_rows(rows, found, rows // 2)
    assert given_rows["devices"] >= min(found.devices, 3)
    assert given_rows["models"] >= min(found.models, 4)
    if not found.unfolded and rows >= 10:
        assert given_rows["log"] >= min(found.log, 3)


def test_eight_cards_and_forty_models_on_a_small_screen() -> None:
    assert shared_rows(21, Wants(devices=10, models=42, log=100), 12) == {
        "devices": 10,
        "programs": 0,
        "models": 8,
        "lower": 0,
        "timeline": 0,
        "log": 3,
    }


def test_devices_take_more_than_half_of_the_screen_where_nobody_else_needs_the_rows() -> None:
    assert shared_rows(21, Wants(devices=16, models=4, log=1), 12)["devices"] == 16


def test_unfolded_devices_leave_two_models_and_the_rule_of_the_log() -> None:
    given_rows = shared_rows(21, Wants(devices=40, models=42, log=100, unfolded=True), 12)
    assert (given_rows["devices"], given_rows["models"], given_rows["log"]) == (17, 4, 0)


def test_a_part_that_would_have_too_few_rows_to_be_of_use_has_none() -> None:
    assert shared_rows(12, Wants(devices=4, models=42, log=100, lower=8, lower_least=4), 12)["lower"] == 0
    assert shared_rows(21, Wants(devices=4, models=6, log=3, lower=8, lower_least=4), 15)["lower"] == 8
    assert shared_rows(22, Wants(devices=12, models=42, log=3, programs=8), 11)["programs"] == 0


def test_what_nobody_wants_makes_the_graphs_higher_and_the_log_longer_where_there_are_none() -> None:
    assert shared_rows(30, Wants(devices=4, models=6, log=3, lower=8, lower_least=4), 15)["lower"] == 17
    assert shared_rows(30, Wants(devices=4, models=6, log=3), 15)["log"] == 20


def test_the_timeline_has_all_its_rows_or_none_and_comes_before_further_models() -> None:
    assert shared_rows(40, Wants(devices=4, models=400, log=100, timeline=9), 25)["timeline"] == 9
    assert shared_rows(16, Wants(devices=4, models=400, log=100, timeline=9), 8)["timeline"] == 0
