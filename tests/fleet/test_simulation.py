"""What the choice of a box is worth, simulated with the real one: `python -m benchmarks.fleet --quick`, with its own seeds."""

from __future__ import annotations

from functools import cache
from statistics import fmean

import pytest

from benchmarks.fleet_demand import pooled_bound, trace_demand, zipf_demand
from benchmarks.fleet_play import Outage, Outcome, play
from benchmarks.fleet_routers import BoundedHash, Chosen, Chosen5s, LeastConnections, RayServe, Router
from engine.recording.trace import TraceRequest

REQUESTS = 20_000


@cache
def played(rule: type[Router], gpus: int, models: int, seed: int = 1) -> Outcome:
    return play(rule, zipf_demand(gpus, models, seed), gpus // 2, REQUESTS, seed)


@pytest.mark.parametrize(
    ("gpus", "models", "least_connections", "bounded_hash", "ray_serve"),
    [(8, 80, 0.15, 0.6, 0.3), (40, 400, 0.05, 0.5, 0.25)],
)
def test_switch_seconds_are_a_fraction_of_those_of_what_people_run(
    gpus: int, models: int, least_connections: float, bounded_hash: float, ray_serve: float
) -> None:
    ours_s = played(Chosen, gpus, models).switch_s

    assert ours_s <= least_connections * played(LeastConnections, gpus, models).switch_s
    assert ours_s <= bounded_hash * played(BoundedHash, gpus, models).switch_s
    assert ours_s <= ray_serve * played(RayServe, gpus, models).switch_s


def test_nearly_as_many_requests_find_their_model_ready_as_if_the_fleet_were_one_gpu() -> None:
    found = [played(Chosen, 40, 400, seed) for seed in (1, 2)]

    assert fmean(o.ready for o in found) >= 0.98 * fmean(
        pooled_bound(zipf_demand(40, 400, seed), 40) for seed in (1, 2)
    )
    assert fmean(o.p99_wait_s for o in found) <= 0.6
    assert max(o.messages for o in found) <= 0.3
    assert not any(o.refused for o in found)


def test_a_view_that_is_five_seconds_old_does_as_well() -> None:
    assert played(Chosen5s, 40, 400).switch_s <= 1.1 * played(Chosen, 40, 400).switch_s


def test_a_box_that_dies_costs_those_four_seconds_that_were_sent_there_and_nobody_later() -> None:
    requests = [TraceRequest(2.0 * n, f"m{n * n % 7}", 1.0) for n in range(2000)]
    demand = trace_demand(requests)
    steady = play(Chosen, demand, 3, len(requests))
    found = play(Chosen, demand, 3, len(requests), outage=Outage("b0", 2401.0, 3000.0))

    assert found.retried <= 2
    assert found.refused == 0
    assert found.mean_wait_s <= steady.mean_wait_s + 0.1
