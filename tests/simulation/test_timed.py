"""Timed replays, counted by hand: 3 GB take 6 s from disk, copied behind the reading, 1 s from RAM; the CPU is 8 times slower."""

from __future__ import annotations

import pytest

from engine.core.policy import Policy
from engine.core.sizes import GB
from engine.recording.trace import TraceError, TraceRequest
from engine.replay.box import Box, cycled_sizes
from engine.replay.generated import demand
from engine.scheduler.board import Patience
from engine.simulation.compute import Compute
from engine.simulation.figures import TimedOutcome
from engine.simulation.timed import replay_timed

ONE_GPU = Box((4 * GB,), ram_bytes=8 * GB)
TWO_GPUS = Box((4 * GB, 4 * GB), ram_bytes=8 * GB)
NO_CPU = Compute(cpu_bytes=0)


def replayed(box: Box, compute: Compute, *requests: tuple[float, str, float]) -> TimedOutcome:
    """Of `(at_s, model, work)`; every model has 3 GB."""
    sizes = {model: 3 * GB for _, model, _ in requests}
    return replay_timed([TraceRequest(*request) for request in requests], box, compute, sizes, Policy())


def waits(outcome: TimedOutcome) -> list[float]:
    """Shortest and longest."""
    assert outcome.waits is not None
    return [outcome.waits.percentiles_s[0], outcome.waits.percentiles_s[-1]]


def delays(outcome: TimedOutcome) -> list[float]:
    """Shortest and longest."""
    assert outcome.delays is not None
    return [outcome.delays.percentiles_s[0], outcome.delays.percentiles_s[-1]]


def test_a_cold_model_is_waited_for_and_a_ready_one_is_not() -> None:
    outcome = replayed(ONE_GPU, NO_CPU, (0, "a", 1), (20, "a", 1))

    assert waits(outcome) == pytest.approx([0, 6])
    assert (outcome.requests, outcome.hits, outcome.denied) == (2, 1, 0)
    assert outcome.switch_s == pytest.approx(6 + 1)
    assert outcome.filled is None


def test_a_model_that_rests_in_ram_is_only_copied() -> None:
    outcome = replayed(ONE_GPU, NO_CPU, (0, "a", 1), (20, "b", 1), (40, "a", 1))

    assert waits(outcome)[0] == pytest.approx(1)
    assert outcome.switch_s == pytest.approx(2 * 6 + 3 * 1)


def test_a_request_joins_the_load_under_way_and_runs_after_the_ones_before_it() -> None:
    outcome = replayed(ONE_GPU, NO_CPU, (0, "a", 5), (1, "a", 5))

    assert outcome.moved.gpu_loads == 1
    assert waits(outcome) == pytest.approx([5, 6])
    assert delays(outcome) == pytest.approx([6, 5 + 5])


def test_loads_for_two_gpus_are_read_one_after_the_other() -> None:
    outcome = replayed(TWO_GPUS, NO_CPU, (0, "a", 1), (0, "b", 1))

    assert waits(outcome) == pytest.approx([6, 12])
    assert outcome.switch_s == pytest.approx(2 * (6 + 1))


def test_a_busy_model_gets_a_second_gpu_of_which_no_other_model_wants_anything() -> None:
    burst = [(100.0 * number, "a", 10.0) for number in range(1, 9) for _ in range(4)]

    twice = replayed(TWO_GPUS, NO_CPU, *burst)

    # four at once wait 0, 10, 20 and 30 s for one device, and 0, 0, 10 and 10 s for two
    assert twice.moved.gpu_loads == 2
    assert delays(twice)[1] == pytest.approx(36.0)
    assert twice.delays is not None
    assert twice.delays.percentiles_s[75] == pytest.approx(10.0)


def test_models_that_run_on_one_device_at_once_share_it() -> None:
    outcome = replayed(Box((8 * GB,), ram_bytes=8 * GB), NO_CPU, (0, "a", 1), (0, "b", 1), (30, "a", 4), (30, "b", 4))

    assert outcome.hits == 2
    assert delays(outcome)[0] == pytest.approx(4)


def test_a_running_model_does_not_leave() -> None:
    outcome = replayed(ONE_GPU, NO_CPU, (0, "a", 20), (8, "b", 1))

    assert waits(outcome) == pytest.approx([6, (26 - 8) + 6])
    assert outcome.moved.evictions == 1
    assert outcome.filled is not None


def test_what_gets_no_room_within_the_deadline_is_denied() -> None:
    outcome = replayed(ONE_GPU, NO_CPU, (0, "a", 100), (8, "b", 1))

    assert (outcome.denied, outcome.requests) == (1, 2)
    assert waits(outcome) == pytest.approx([6, 6])


def test_what_runs_on_the_cpu_is_delayed_by_its_slowness() -> None:
    outcome = replayed(ONE_GPU, Compute(cpu_bytes=8 * GB), (0, "a", 1000), (8, "b", 10))

    assert outcome.on_cpu == 1
    assert outcome.cpu_share == 0.5
    assert delays(outcome) == pytest.approx([6, 6 + Patience().in_use_s + (80 - 10)])


def test_work_is_converted_to_seconds() -> None:
    outcome = replayed(ONE_GPU, Compute(work_per_s=50, cpu_bytes=0), (0, "a", 500), (8, "a", 50))

    assert delays(outcome) == pytest.approx([6, 16 - 8])


def test_a_model_that_fits_no_gpu_is_refused() -> None:
    with pytest.raises(TraceError, match="could never be served"):
        replayed(Box((2 * GB,)), NO_CPU, (0, "a", 1))


@pytest.mark.parametrize("eviction", ["expected_loss", "lru", "lfu"])
def test_every_request_ends_and_the_same_replay_gives_the_same_figures(eviction: str) -> None:
    requests = demand(24, 1.0, 2.0, seed=5, requests=400)
    sizes = cycled_sizes(request.model for request in requests)
    policy = Policy(eviction=eviction)  # type: ignore[arg-type]

    one, other = (replay_timed(requests, Box(), Compute(), sizes, policy) for _ in range(2))

    assert one == other
    assert one.requests == len(requests)
    assert one.filled is not None
    assert 0 < one.filled <= 1
