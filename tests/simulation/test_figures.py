"""How requests are counted."""

from __future__ import annotations

from engine.simulation.figures import RequestTally


def test_what_ran_on_a_worker_that_died_gets_no_answer() -> None:
    tally = RequestTally()
    for lease, device in [(1, "gpu0"), (2, "gpu1")]:
        tally.came(lease, 1.0, now_s=0.0)
        tally.granted(lease, device, now_s=0.0)

    tally.worker_died("gpu0")
    tally.ended(2, now_s=3.0)

    assert (tally.denied, tally.all_settled) == (1, True)
    delays = tally.delays()
    assert delays is not None
    assert delays.mean_s == 2.0


def test_of_nothing_there_is_no_mean() -> None:
    assert RequestTally().waits() is None
