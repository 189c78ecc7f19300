"""What the log of requests makes of their lives, told the time."""

from __future__ import annotations

import pytest

from engine.core.insight.request_figures import (
    KEPT_ANSWERS,
    LISTED_REQUESTS,
    RATE_S,
    TIMES_S,
    Asker,
    RequestFigures,
    RequestLog,
    RequestUnderWay,
)
from engine.core.tasks import Embed, Generate

TASK = Generate("a", 40)


def answered(
    log: RequestLog, number: int, ended_s: float, seconds: float = 1.0, work: int = 1, model: str = "m"
) -> None:
    """A request that ran as soon as it came."""
    log.asked(number, model, TASK, Asker(), ended_s - seconds)
    log.granted(number, "gpu0", ended_s - seconds)
    log.ended(number, "answered", work, ended_s)


def test_a_request_waits_then_is_in_flight_then_is_answered() -> None:
    log = RequestLog()
    assert log.figures(0.0) == {}
    log.asked(1, "m", TASK, Asker(), 10.0)
    log.asked(2, "m", TASK, Asker(), 10.0)
    assert log.figures(10.0) == {"m": RequestFigures(waiting=2)}
    log.granted(1, "gpu0", 11.0)
    found = log.figures(11.0)["m"]
    assert (found.waiting, found.in_flight, found.p50_s) == (1, 1, None)
    log.ended(1, "answered", 4, 12.0)
    found = log.figures(12.0)["m"]
    assert (found.waiting, found.in_flight, found.answered) == (1, 0, 1)
    assert (found.first_part_s, found.p50_s, found.p95_s) == (2.0, 2.0, 2.0)


def test_the_first_part_is_the_first_token_of_a_text_and_the_answer_of_anything_else() -> None:
    log = RequestLog()
    log.asked(1, "writer", TASK, Asker(), 0.0)
    log.granted(1, "gpu0", 1.0)
    log.said(1, 1.5)
    log.said(1, 2.0)
    log.ended(1, "answered", 2, 3.0)
    answered(log, 2, 3.0, seconds=0.5, model="embedder")
    found = log.figures(3.0)
    assert (found["writer"].first_part_s, found["writer"].p50_s) == (1.5, 3.0)
    assert (found["embedder"].first_part_s, found["embedder"].p50_s) == (0.5, 0.5)


def test_percentiles_are_of_the_answered_ones_and_the_rest_is_counted_apart() -> None:
    log = RequestLog()
    for number in range(1, 101):
        answered(log, number, 100.0, seconds=number / 100)
    for number, outcome in ((201, "failed"), (202, "refused"), (203, "refused"), (204, "left")):
        log.asked(number, "m", TASK, Asker(), 50.0)
        log.ended(number, outcome, 0, 100.0)  # type: ignore[arg-type]
    found = log.figures(100.0)["m"]
    assert (found.p50_s, found.p95_s, found.answered) == (0.5, 0.95, 100)
    assert (found.failed, found.refused, found.left) == (1, 2, 1)


def test_the_rate_counts_work_as_evenly_as_it_was_done() -> None:
    log = RequestLog()
    answered(log, 1, 100.0, seconds=100.0, work=1000)
    # of the last minute, in which it ran all the time
    assert log.figures(100.0)["m"].per_s == pytest.approx(10.0)
    # half of it is out of the last minute, and in the other half nothing was done
    assert log.figures(100.0 + RATE_S / 2)["m"].per_s == pytest.approx(5.0)
    assert log.figures(100.0 + RATE_S)["m"].per_s == 0


def test_requests_at_once_add_up_and_a_young_rate_is_not_thinned_by_the_time_before() -> None:
    log = RequestLog()
    for number in range(8):
        answered(log, number, 1002.0, seconds=2.0, work=10)
    assert log.figures(1002.0)["m"].per_s == pytest.approx(40.0)


def test_a_text_that_is_being_written_counts_by_its_parts_until_its_tokens_are_known() -> None:
    log = RequestLog()
    log.asked(1, "m", TASK, Asker(), 0.0)
    log.granted(1, "gpu0", 0.0)
    for tenth in range(1, 101):
        log.said(1, tenth / 10)
    assert log.figures(10.0)["m"].per_s == pytest.approx(10.0)
    log.ended(1, "answered", 200, 10.0)
    assert log.figures(11.0)["m"].per_s == pytest.approx(200 / 11, rel=0.01)


def test_a_run_that_begins_anew_counts_its_parts_anew_and_keeps_its_first_one() -> None:
    log = RequestLog()
    log.asked(1, "m", TASK, Asker(), 0.0)
    log.granted(1, "gpu0", 0.0)
    for second in range(1, 9):
        log.said(1, float(second))
    log.granted(1, "gpu0", 8.0)
    log.said(1, 10.0)
    assert log.figures(10.0)["m"].per_s == pytest.approx(0.5)
    log.ended(1, "answered", 1, 11.0)
    assert log.figures(11.0)["m"].first_part_s == 1.0


def test_what_was_answered_grows_old_and_what_came_to_nothing_is_kept() -> None:
    log = RequestLog()
    answered(log, 1, 10.0)
    log.asked(2, "m", TASK, Asker(), 10.0)
    log.ended(2, "left", 0, 10.0)
    assert log.is_moving(10.0 + TIMES_S - 1)
    assert log.figures(10.0 + TIMES_S - 1)["m"].answered == 1
    assert not log.is_moving(10.0 + TIMES_S)
    assert log.figures(10.0 + TIMES_S)["m"] == RequestFigures(left=1, ever_answered=1, ever_done=1)


def test_however_many_are_answered_the_log_keeps_the_newest_and_the_rate_is_right() -> None:
    log = RequestLog()
    for number in range(10 * KEPT_ANSWERS):
        answered(log, number, number / 100, seconds=0.01)
    found = log.figures(10 * KEPT_ANSWERS / 100)["m"]
    assert found.answered == KEPT_ANSWERS
    assert found.per_s == pytest.approx(100.0, rel=0.02)


def test_rates_and_times_are_worked_out_once_a_second_and_counts_always() -> None:
    log = RequestLog()
    answered(log, 1, 1.0, seconds=1.0)
    assert log.figures(1.0)["m"].answered == 1
    answered(log, 2, 1.5, seconds=0.5)
    log.asked(3, "m", TASK, Asker(), 1.5)
    found = log.figures(1.5)["m"]
    assert (found.answered, found.waiting) == (1, 1)
    assert log.figures(2.0)["m"].answered == 2


# ── one by one ───────────────────────────────────────────────────────────────────────────────────


def test_requests_under_way_are_listed_with_who_asks_the_oldest_first() -> None:
    log, app = RequestLog(), Asker(key="app")
    log.asked(1, "writer", TASK, app, 10.0)
    log.asked(2, "minilm", Embed(("a", "b")), Asker(pid=42, process="python3", user="ann"), 11.0)
    log.granted(1, "gpu0", 12.0)
    log.said(1, 13.0)
    log.said(1, 13.5)
    listed = log.under_way(14.0)
    assert listed.count == 2
    writer, minilm = listed.requests
    assert writer == RequestUnderWay(1, app, "writer", "generation", 40, 4.0, "gpu0", 2.0, 2)
    assert (minilm.task, minilm.work, minilm.device, minilm.age_s) == ("embedding", 2, None, 3.0)
    log.ended(1, "answered", 2, 15.0)
    assert [request.number for request in log.under_way(15.0).requests] == [2]
    assert log.one_under_way(1, 15.0) is None
    assert log.one_under_way(2, 15.0) == log.under_way(15.0).requests[0]


def test_of_very_many_requests_the_oldest_are_listed_and_all_are_counted() -> None:
    log = RequestLog()
    for number in range(1, LISTED_REQUESTS + 45):
        log.asked(number, "m", TASK, Asker(), 0.0)
    listed = log.under_way(1.0)
    assert (len(listed.requests), listed.count) == (LISTED_REQUESTS, LISTED_REQUESTS + 44)
    assert listed.requests[0].number == 1
    assert log.one_under_way(LISTED_REQUESTS + 44, 1.0) is not None


@pytest.mark.parametrize(
    ("asker", "text"),
    [
        (Asker(key="app"), "key app"),
        (Asker(address="127.0.0.1"), "127.0.0.1"),
        (Asker(pid=4242, process="python3", user="ann"), "python3 4242 (ann)"),
        (Asker(pid=4242, user="ann"), "process 4242 (ann)"),
        (Asker(user="ann"), "process of another container (ann)"),
        (Asker(), "the engine's own process"),
    ],
)
def test_who_asks_is_told_by_what_is_known_of_them(asker: Asker, text: str) -> None:
    assert asker.text == text
