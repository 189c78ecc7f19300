"""What replays cost: small ones counted by hand, generated ones by what must hold of them."""

from __future__ import annotations

import math

import pytest

from engine.core.policy import Eviction, Policy
from engine.core.sizes import GB
from engine.replay.box import Box, cycled_sizes, starting_state
from engine.replay.generated import demand
from engine.replay.untimed import (
    EVICTIONS,
    Clairvoyance,
    Hindsight,
    PolicyComparison,
    ReplayFigures,
    compare_policies,
    replay,
)

DEMANDS = [(12, 1.0, 1.0), (20, 1.5, 2.0), (40, 2.1, 3.0), (40, 1.0, 2.0)]


def replayed(models: str, sizes: dict[str, int], box: Box, eviction: Eviction = "expected_loss") -> ReplayFigures:
    return replay(starting_state(box, sizes), models, Policy(eviction=eviction), Hindsight())


def generated(models: int, zipf: float, gap_cv: float, seed: int = 1) -> PolicyComparison:
    requests = demand(models, zipf, gap_cv, seed=seed)
    return compare_policies(requests, Box(), cycled_sizes(r.model for r in requests))


def test_a_first_load_reads_and_copies_and_a_later_one_only_copies() -> None:
    outcome = replayed("abab", {"a": 3 * GB, "b": 3 * GB}, Box((4 * GB,), ram_bytes=3 * GB))

    assert outcome.switch_s == pytest.approx((6 + 1) + (6 + 1) + 1 + 1)
    assert (outcome.loads, outcome.disk_loads, outcome.hit_ratio) == (4, 2, 0.0)
    assert (outcome.to_gpu_bytes, outcome.from_disk_bytes, outcome.to_ram_bytes) == (12 * GB, 6 * GB, 9 * GB)


def test_without_a_ram_tier_every_load_reads() -> None:
    outcome = replayed("abab", {"a": 3 * GB, "b": 3 * GB}, Box((4 * GB,), ram_bytes=0))

    assert outcome.switch_s == pytest.approx(4 * 7)
    assert outcome.to_ram_bytes == 0


def test_residents_take_no_place_in_the_ram_tier() -> None:
    outcome = replayed("abcabc", dict.fromkeys("abc", 2 * GB), Box((2 * GB, 2 * GB), ram_bytes=2 * GB))

    assert outcome.disk_loads == 3


def test_what_fits_is_loaded_once_and_utilization_is_not_known_without_pressure() -> None:
    outcome = replayed("abab", {"a": 1 * GB, "b": 1 * GB}, Box((4 * GB,)))

    assert (outcome.loads, outcome.hit_ratio, outcome.utilization) == (2, 0.5, None)


@pytest.mark.parametrize(("eviction", "hits"), [("lru", 3), ("lfu", 4)])
def test_lru_loses_the_longest_unused_and_lfu_the_least_used(eviction: Eviction, hits: int) -> None:
    outcome = replayed("abacacba", dict.fromkeys("abc", 1 * GB), Box((2 * GB,)), eviction)

    assert outcome.requests - outcome.loads == hits


def test_the_clairvoyant_keeps_what_is_needed_next() -> None:
    start = starting_state(Box((2 * GB,)), dict.fromkeys("abc", 1 * GB))

    outcome = replay(start, "abcab", Policy(), Clairvoyance("abcab"))

    assert outcome.requests - outcome.loads == 1


def test_knowing_what_the_ram_tier_will_be_asked_for_saves_reading_alone() -> None:
    asked, box = "abcabcabc", Box((1 * GB,), ram_bytes=1 * GB)
    start = starting_state(box, dict.fromkeys("abc", 1 * GB))

    counted = replay(start, asked, Policy(), Hindsight())
    tier_known = replay(start, asked, Policy(), Hindsight(), Clairvoyance(asked))

    assert (counted.loads, counted.disk_loads) == (9, 9)
    assert (tier_known.loads, tier_known.disk_loads) == (9, 6)


@pytest.mark.parametrize(("models", "zipf", "gap_cv"), DEMANDS)
def test_no_policy_beats_the_clairvoyant_one_and_all_keep_within_the_budget(
    models: int, zipf: float, gap_cv: float
) -> None:
    compared = generated(models, zipf, gap_cv)

    for outcome in compared.policies.values():
        assert compared.regret(outcome) >= 0
        assert outcome.utilization is not None
        assert 0 < outcome.utilization <= 1


def test_expected_loss_costs_less_than_lru_on_generated_demand() -> None:
    ratios = []
    for models, zipf, gap_cv in DEMANDS:
        policies = generated(models, zipf, gap_cv).policies
        ratios.append(policies["expected_loss"].switch_s / policies["lru"].switch_s)

    assert math.prod(ratios) ** (1 / len(ratios)) < 0.98


def test_gdsf_forgets_in_the_end_what_was_asked_for_often_and_lfu_never() -> None:
    once = "bcdefghijklm"
    sizes, room_for_two = dict.fromkeys("a" + once, GB), Box((2 * GB,), ram_bytes=0)

    lfu, gdsf = (replayed("a" * 3 + once + "a", sizes, room_for_two, eviction) for eviction in ("lfu", "gdsf"))

    assert lfu.loads == 1 + len(once), "it is there yet when it is asked for again"
    assert gdsf.loads == lfu.loads + 1


def test_the_same_replay_gives_the_same_figures() -> None:
    assert generated(20, 1.5, 2.0) == generated(20, 1.5, 2.0)


def test_all_policies_are_compared() -> None:
    assert tuple(generated(12, 1.0, 1.0).policies) == EVICTIONS
