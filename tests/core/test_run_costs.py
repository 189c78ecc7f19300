"""What requests take of a device, learned from runs, and the seconds of a queue."""

from __future__ import annotations

import pytest

from engine.core.forecast.run_costs import UNKNOWN, drain_s, is_known, lost_on_cpu_s, queue_s, ran
from engine.core.ledger import take_lease
from engine.core.prediction import NOTHING
from engine.core.state import State
from tests.core.boxes import box, with_resident


def taught(state: State, model: str, device: str, *runs: tuple[int, float]) -> State:
    for work, device_s in runs:
        state = ran(state, model, device, work, device_s)
    return state


def test_before_anything_has_run_the_guess_counts_and_nothing_is_known() -> None:
    state = box({"a": 10})

    assert queue_s(state, "a", "gpu0", 1, 8).p50_s == pytest.approx(UNKNOWN.guess_s(8))
    assert not is_known(state, "a", "gpu0")


def test_a_queue_is_as_long_as_what_its_runs_took_before() -> None:
    state = taught(box({"a": 10}), "a", "gpu0", *[(4, 0.5)] * 5)

    assert queue_s(state, "a", "gpu0", 3, 12).p50_s == pytest.approx(1.5)


def test_runs_of_other_sizes_tell_of_a_size_that_never_ran() -> None:
    slow = taught(box({"a": 10}), "a", "gpu0", (1, 0.3), (8, 1.0), (98, 10.0))

    assert queue_s(slow, "a", "gpu0", 1, 48).p50_s == pytest.approx(10 * UNKNOWN.guess_s(48))


def test_what_a_card_teaches_is_not_said_of_the_cpu() -> None:
    state = taught(box({"a": 10}), "a", "gpu0", *[(4, 0.5)] * 5)

    assert is_known(state, "a", "gpu1")  # of the same kind
    assert not is_known(state, "a", "cpu")
    assert queue_s(state, "a", "cpu", 1, 4).p50_s == pytest.approx(UNKNOWN.guess_s(4))


def test_nothing_drains_in_no_time() -> None:
    state = box({"a": 10})

    assert drain_s(state, "a", "gpu0") == NOTHING
    assert drain_s(with_resident(state, "a", "gpu0"), "a", "gpu0") == NOTHING


def test_a_model_drains_for_as_long_as_its_runs_take_and_takes_turns_with_its_neighbours() -> None:
    state = with_resident(with_resident(box({"a": 10, "b": 10}), "a", "gpu0"), "b", "gpu0")
    state = taught(taught(state, "a", "gpu0", *[(2, 1.0)] * 3), "b", "gpu0", *[(50, 30.0)] * 3)
    state = take_lease(take_lease(state, "a", "gpu0", 2), "a", "gpu0", 2)
    assert drain_s(state, "a", "gpu0").p50_s == pytest.approx(2.0)

    both = take_lease(state, "b", "gpu0", 50)

    assert drain_s(both, "a", "gpu0").p50_s == pytest.approx(4.0)
    assert drain_s(both, "b", "gpu0").p50_s == pytest.approx(32.0)


def test_a_model_loses_on_the_cpu_what_a_usual_request_takes_longer_there() -> None:
    state = taught(box({"a": 10}), "a", "cpu", (2, 1.0), (4, 2.0), (4, 2.0), (4, 2.0), (900, 100.0))
    assert lost_on_cpu_s(state, "a", "cpu", "gpu0") is None

    state = taught(state, "a", "gpu0", *[(4, 0.5)] * 3)

    assert lost_on_cpu_s(state, "a", "cpu", "gpu0") == pytest.approx(1.5)


def test_a_model_loses_nothing_on_a_cpu_that_is_no_slower() -> None:
    state = taught(taught(box({"a": 10}), "a", "cpu", (4, 0.5)), "a", "gpu0", (4, 0.5))

    assert lost_on_cpu_s(state, "a", "cpu", "gpu0") == 0.0
