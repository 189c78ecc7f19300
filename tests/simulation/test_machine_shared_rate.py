"""A shared rate, counted by hand: 10 units a second."""

from __future__ import annotations

import math

import pytest

from engine.simulation.machine import SharedRate


@pytest.fixture
def rate() -> SharedRate[str]:
    return SharedRate(10.0)


def test_one_user_has_the_whole_rate(rate: SharedRate[str]) -> None:
    rate.start("a", 20, now_s=1.0)

    assert (rate.next_s, rate.take()) == (3.0, "a")
    assert rate.next_s == math.inf


def test_users_share_equally_and_who_is_left_has_the_rest(rate: SharedRate[str]) -> None:
    rate.start("a", 20, now_s=0.0)
    rate.start("b", 20, now_s=1.0)

    assert (rate.next_s, rate.take()) == (3.0, "a")
    assert (rate.next_s, rate.take()) == (4.0, "b")


def test_a_user_that_stops_leaves_its_share_to_the_others(rate: SharedRate[str]) -> None:
    rate.start("a", 20, now_s=0.0)
    rate.start("b", 90, now_s=0.0)

    assert rate.stop("b", now_s=2.0)

    assert (rate.next_s, rate.take()) == (3.0, "a")


def test_one_that_is_done_can_not_be_stopped(rate: SharedRate[str]) -> None:
    rate.start("a", 20, now_s=0.0)
    rate.take()

    assert not rate.stop("a", now_s=2.0)


def test_what_a_user_has_yet_to_have_is_told() -> None:
    rate: SharedRate[str] = SharedRate(10.0)
    rate.start("a", 20.0, now_s=0.0)
    assert rate.left("a", now_s=0.5) == 15.0
    assert rate.left("b", now_s=0.5) == 0.0
