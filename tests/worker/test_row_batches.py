"""Which rows run together: in whatever order requests come, each row runs once, in turn, within bounds, with little padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.worker.row_batches import BatchTimes, Bounds, RowQueue, WaitingRows

MOST: Final = Bounds(rows=64, tokens=8192, padding=128)
WIDE: Final = 1 << 30
"""More than any test's."""

Lengths: TypeAlias = list[int]
Batch: TypeAlias = list[tuple[WaitingRows, int]]

lengths = st.lists(st.integers(1, 64), min_size=1, max_size=30)
arrivals = st.lists(st.tuples(st.integers(0, 3), lengths), max_size=12)
"""Requests, and how many batches are picked before each."""
bounds = st.builds(Bounds, rows=st.integers(1, 8), tokens=st.integers(1, 256), padding=st.integers(0, 100))


def batches_of(arrivals: list[tuple[int, Lengths]], bounds: Bounds) -> Iterator[tuple[list[WaitingRows], Batch]]:
    """Who waited, and what was picked, until nothing is left."""
    waiting: RowQueue[WaitingRows] = RowQueue()
    for before, lengths in arrivals:
        for _ in range(before):
            if waiting:
                yield list(waiting), waiting.pick(bounds)
        waiting.add(WaitingRows(lengths))
    while waiting:
        yield list(waiting), waiting.pick(bounds)


@given(arrivals, bounds)
def test_every_row_runs_once_and_those_of_a_request_the_shortest_first(
    arrivals: list[tuple[int, Lengths]], bounds: Bounds
) -> None:
    ran: dict[WaitingRows, list[int]] = {}
    for _, batch in batches_of(arrivals, bounds):
        for request, row in batch:
            ran.setdefault(request, []).append(row)
    assert sorted(list(request.lengths) for request in ran) == sorted(lengths for _, lengths in arrivals)
    for request, rows in ran.items():
        assert sorted(rows) == list(range(len(request.lengths)))
        in_order = [request.lengths[row] for row in rows]
        assert in_order == sorted(in_order)


@given(arrivals, bounds)
def test_no_batch_is_larger_than_its_bounds_but_for_a_row_that_is_longer_alone(
    arrivals: list[tuple[int, Lengths]], bounds: Bounds
) -> None:
    for _, batch in batches_of(arrivals, bounds):
        rows = [request.lengths[row] for request, row in batch]
        assert len(rows) <= bounds.rows
        assert len(rows) == 1 or len(rows) * max(rows) <= bounds.tokens


@given(arrivals, bounds)
def test_padding_is_no_more_than_the_text_and_what_is_not_worth_a_batch(
    arrivals: list[tuple[int, Lengths]], bounds: Bounds
) -> None:
    for _, batch in batches_of(arrivals, bounds):
        rows = [request.lengths[row] for request, row in batch]
        assert len(rows) * max(rows) <= 2 * sum(rows) + bounds.padding


@given(arrivals, bounds)
def test_nobody_waits_for_more_than_one_turn_of_each_other(arrivals: list[tuple[int, Lengths]], bounds: Bounds) -> None:
    turns: dict[WaitingRows, list[WaitingRows]] = {}
    for waiting, batch in batches_of(arrivals, bounds):
        turn = batch[0][0]
        for request in waiting:
            turns.setdefault(request, []).append(turn)
        since = turns.pop(turn)[:-1]
        assert len(set(since)) == len(since)


@given(arrivals, bounds)
def test_room_goes_to_those_that_the_batch_finishes(arrivals: list[tuple[int, Lengths]], bounds: Bounds) -> None:
    for _, batch in batches_of(arrivals, bounds):
        assert not any(request.left for request, _ in batch if request is not batch[0][0])


@given(lengths, st.integers(1, 8), st.integers(1, 256))
def test_a_request_that_is_alone_runs_in_the_fewest_batches_that_its_rows_by_length_fill(
    lengths: Lengths, rows: int, tokens: int
) -> None:
    expected: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        count = len(expected[-1])
        if count and (count == rows or (count + 1) * lengths[row] > tokens):
            expected.append([])
        expected[-1].append(row)
    found = batches_of([(0, lengths)], Bounds(rows, tokens, padding=WIDE))
    assert [[row for _, row in batch] for _, batch in found] == expected


@given(lengths, bounds)
def test_a_request_that_is_alone_runs_in_batches_that_company_does_not_change(lengths: Lengths, bounds: Bounds) -> None:
    alone = [[row for _, row in batch] for _, batch in batches_of([(0, lengths)], bounds)]
    bulk = WaitingRows([200] * 1000)
    waiting: RowQueue[WaitingRows] = RowQueue()
    waiting.add(WaitingRows(lengths))
    waiting.add(bulk)
    beside = [[row for request, row in waiting.pick(bounds) if request is not bulk] for _ in range(2 * len(alone))]
    assert [batch for batch in beside if batch] == alone


def test_who_comes_during_a_batch_runs_before_the_one_whose_turn_that_was() -> None:
    bounds = Bounds(4, WIDE, WIDE)
    waiting: RowQueue[WaitingRows] = RowQueue()
    bulk, other, short, late = (WaitingRows([length] * 12) for length in (5, 20, 60, 1))
    waiting.add(bulk)
    waiting.pick(bounds)
    for request in (other, short):
        waiting.add(request)
    turns = [waiting.pick(bounds)[0][0]]
    waiting.add(late)
    turns += [waiting.pick(bounds)[0][0] for _ in range(4)]
    assert turns == [other, short, bulk, late, other]


@given(arrivals, bounds, st.data())
def test_who_is_dropped_runs_no_more_and_the_turns_of_the_others_go_on(
    arrivals: list[tuple[int, Lengths]], bounds: Bounds, data: st.DataObject
) -> None:
    waiting: RowQueue[WaitingRows] = RowQueue()
    requests = [WaitingRows(lengths) for _, lengths in arrivals]
    for request in requests:
        waiting.add(request)
        if data.draw(st.booleans()):
            waiting.pick(bounds)
        if data.draw(st.booleans()):
            waiting.drop(data.draw(st.sampled_from(requests)))
    stayed = list(waiting)
    while waiting:
        assert {request for request, _ in waiting.pick(bounds)} <= set(stayed)
    assert not any(request.left for request in stayed)


def test_a_burst_of_singles_shares_batches() -> None:
    found = list(batches_of([(0, [8 + number % 9]) for number in range(64)], Bounds(32, WIDE, 0)))
    assert [len(batch) for _, batch in found] == [32, 32]


def test_requests_that_may_not_share_a_batch_run_alone_in_turn() -> None:
    found = list(batches_of([(0, [8, 8]), (0, [8] * 3)], Bounds(2, WIDE, 0, is_shared=False)))
    turns = [{len(request.lengths) for request, _ in batch} for _, batch in found]
    assert turns == [{2}, {3}, {3}]


@pytest.mark.parametrize(("first", "second"), [([10], [4]), ([4], [10]), ([4, 10], [4])])
def test_rows_of_unlike_length_do_not_share_a_batch(first: Lengths, second: Lengths) -> None:
    found = list(batches_of([(0, first), (0, second)], Bounds(8, WIDE, WIDE)))
    assert [len(batch) for _, batch in found] == [len(first), len(second)]


# ── how large a batch may be ─────────────────────────────────────────────────────────────────────


def settled(takes_s: Callable[[int], float], batches: int = 100) -> Bounds:
    """What the times of so many batches, each as large as it may be, come to."""
    times = BatchTimes(MOST)
    for _ in range(batches):
        tokens = times.bounds().tokens
        times.note(tokens, takes_s(tokens))
    return times.bounds()


def test_a_lane_begins_with_batches_of_middling_size_whatever_the_first_took() -> None:
    times = BatchTimes(MOST)
    for seconds in (30.0, 0.0, 9.0):
        assert times.bounds() == MOST._replace(tokens=1024)
        times.note(1024, seconds)
    assert times.bounds().tokens < 1024
    assert BatchTimes(Bounds(64, 100, 10)).bounds() == Bounds(64, 100, 10)


def test_on_a_slow_device_a_batch_takes_a_few_times_what_any_batch_takes() -> None:
    assert settled(lambda tokens: 0.026 + 0.00085 * tokens).tokens == pytest.approx(12 * 0.026 / 0.00085, abs=2)


def test_on_a_fast_device_a_batch_is_as_large_as_was_promised() -> None:
    assert settled(lambda tokens: 0.005 + 0.000002 * tokens) == MOST


@pytest.mark.parametrize(("token_s", "tokens"), [(0.0001, 500), (0.001, 128)])
def test_where_any_batch_takes_next_to_nothing_one_that_nobody_notices_or_of_ten_short_texts_is_small_enough(
    token_s: float, tokens: int
) -> None:
    assert settled(lambda tokens: token_s * tokens).tokens == pytest.approx(tokens, abs=1)


def test_batches_that_something_else_held_up_do_not_count() -> None:
    numbers = iter(range(1000))
    found = settled(lambda tokens: (0.026 + 0.00085 * tokens) * (5 if next(numbers) % 7 == 3 else 1))
    assert 0.5 < found.tokens / (12 * 0.026 / 0.00085) < 2


def test_a_lane_forgets_how_long_batches_took_when_the_device_was_busy() -> None:
    numbers = iter(range(1000))
    found = settled(lambda tokens: 0.005 + (0.02 if next(numbers) < 20 else 0.000002) * tokens, batches=400)
    assert found == MOST


@given(st.lists(st.tuples(st.integers(1, 8192), st.floats(0, 100))), st.integers(1, 8192))
def test_never_more_is_allowed_than_was_promised_whatever_batches_took(
    took: list[tuple[int, float]], promised: int
) -> None:
    times = BatchTimes(Bounds(8, promised, 16))
    for tokens, seconds in took:
        times.note(tokens, seconds)
        assert min(128, promised) <= times.bounds().tokens <= promised
