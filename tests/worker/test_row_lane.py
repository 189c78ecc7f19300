"""Requests that share batches: who runs when, who leaves when, and what comes of each, whatever becomes of the others."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from typing import Final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.models import Limits
from engine.core.tasks import Embed
from engine.worker.errors import BadRequest, Left, NotResident, OutOfMemory
from engine.worker.lanes import Turn
from engine.worker.row_lane import MOST_FIGURES, RowLane
from tests.worker.by_hand import NO_ANSWER, UNREADABLE, ByHand, ScriptedMemory, summed, sums
from tests.worker.lanes import Answer, ask

LIMITS = Limits(max_batch=4, max_sequence=16)
BULK = Embed(tuple(f"bulk {number:02}" for number in range(12)))


@pytest.fixture
def model() -> ByHand:
    return ByHand(LIMITS)


@pytest.fixture
def lane(model: ByHand) -> Iterator[RowLane]:
    lane = model.lane("m", Turn())
    yield lane
    lane.close()
    model.run_freely(100)


def one(text: str) -> Embed:
    return Embed((text,))


def heard(answer: Answer) -> list[float]:
    return sums(answer.result().result)


def is_right(answer: Answer, task: Embed) -> bool:
    return heard(answer) == [summed(text) for text in task.texts]


# ── who runs when ────────────────────────────────────────────────────────────────────────────────


def test_a_request_that_comes_alone_runs_at_once_and_alone(model: ByHand, lane: RowLane) -> None:
    answer = ask(lane, one("abc"))
    assert model.run() == ["abc"]
    assert is_right(answer, one("abc"))


def test_more_figures_than_an_answer_may_have_are_refused_before_any_batch(model: ByHand, lane: RowLane) -> None:
    model.width = MOST_FIGURES // 2
    refused = ask(lane, Embed(("a", "b", "c")))
    with pytest.raises(BadRequest, match="send at most 2 at once"):
        refused.result()
    assert model.is_idle()


def test_what_came_during_a_batch_shares_the_next(model: ByHand, lane: RowLane) -> None:
    tasks = [one("abc"), Embed(("defg", "hijk")), one("lmn"), one("opq")]
    first = ask(lane, tasks[0])
    assert model.begun() == ["abc"]
    others = [ask(lane, task) for task in tasks[1:]]
    model.end()
    assert model.run() == ["defg", "hijk", "lmn", "opq"]
    assert all(is_right(answer, task) for answer, task in zip([first, *others], tasks, strict=True))


def test_a_short_request_behind_a_bulk_waits_for_the_batch_under_way_alone(model: ByHand, lane: RowLane) -> None:
    bulk = ask(lane, BULK)
    assert model.begun() == list(BULK.texts[:4])
    short = ask(lane, one("a short"))
    model.end()
    assert model.run() == ["a short"]
    assert is_right(short, one("a short"))
    assert model.run() + model.run() == list(BULK.texts[4:])
    assert is_right(bulk, BULK)


def test_rows_come_back_in_the_order_in_which_they_were_given(model: ByHand, lane: RowLane) -> None:
    task = Embed(("eeeee", "a", "cccccccc", "bb", "dddddddddd", "ff"))
    answer = ask(lane, task)
    assert model.run() + model.run() == ["a", "bb", "ff", "eeeee", "cccccccc", "dddddddddd"]
    assert is_right(answer, task)


def test_a_request_without_rows_is_answered_without_a_batch(model: ByHand, lane: RowLane) -> None:
    answer = ask(lane, Embed(()))
    assert heard(answer) == []
    assert answer.result().filled == 0
    assert model.is_idle()


class OneAtATime(ByHand):
    """Shares a device with others, on which no two batches may run at once."""

    def __init__(self, running: list[ByHand]) -> None:
        super().__init__(LIMITS)
        self._running: Final = running

    def forward(self, rows: Sequence[str]) -> torch.Tensor:
        self._running.append(self)
        made = super().forward(rows)
        assert self._running == [self]
        self._running.clear()
        return made


def test_lanes_of_a_device_run_one_batch_at_a_time() -> None:
    turn, running = Turn(), list[ByHand]()
    models = [OneAtATime(running) for _ in range(3)]
    lanes = [model.lane("m", turn) for model in models]
    for model in models:
        model.run_freely(100)
    answers = [ask(lane, BULK) for lane in lanes for _ in range(5)]
    assert all(is_right(answer, BULK) for answer in answers)
    for lane in lanes:
        lane.close()


def test_what_came_while_it_was_another_lanes_turn_shares_the_batch(model: ByHand) -> None:
    turn = Turn()
    lane = model.lane("m", turn)
    with turn.mine():
        first = ask(lane, one("abc"))
        model.is_reading.get()
        other = ask(lane, one("def"))
    assert model.run() == ["abc", "def"]
    assert is_right(first, one("abc"))
    assert is_right(other, one("def"))
    lane.close()


def test_a_lane_says_for_how_long_its_batch_has_been_running(model: ByHand, lane: RowLane) -> None:
    assert lane.step_s() is None
    answer = ask(lane, one("abc"))
    model.begun()
    assert (lane.step_s() or 0) > 0
    model.end()
    wait([answer])
    assert lane.step_s() is None


# ── who leaves when ──────────────────────────────────────────────────────────────────────────────


def test_who_leaves_while_waiting_is_dropped_at_once(model: ByHand, lane: RowLane) -> None:
    first = ask(lane, one("abc"))
    model.begun()
    leaver, stayer = ask(lane, one("def")), ask(lane, one("ghi"))
    lane.leave(leaver.run)
    assert isinstance(leaver.exception(0), Left)
    model.end()
    assert model.run() == ["ghi"]
    assert is_right(first, one("abc"))
    assert is_right(stayer, one("ghi"))


def test_who_leaves_while_its_batch_runs_is_dropped_after_it_and_the_others_have_theirs(
    model: ByHand, lane: RowLane
) -> None:
    bulk = ask(lane, BULK)
    model.run()
    model.begun()
    lane.leave(bulk.run)
    other = ask(lane, one("abc"))
    assert not bulk.done()
    model.end()
    assert isinstance(bulk.exception(), Left)
    assert model.run() == ["abc"]
    assert is_right(other, one("abc"))


def test_who_leaves_while_being_read_is_dropped_when_that_is_done(model: ByHand, lane: RowLane) -> None:
    model.holds_reading = True
    leaver, stayer = ask(lane, BULK), ask(lane, one("abc"))
    assert model.is_reading.get() == BULK
    lane.leave(leaver.run)
    model.may_read.put(None)
    assert isinstance(leaver.exception(), Left)
    model.may_read.put(None)
    assert model.run() == ["abc"]
    assert is_right(stayer, one("abc"))


def test_leaving_twice_or_after_the_end_or_another_lane_changes_nothing(model: ByHand, lane: RowLane) -> None:
    first = ask(lane, one("abc"))
    model.begun()
    waiting = ask(lane, one("def"))
    for _ in range(2):
        lane.leave(first.run)
        lane.leave(waiting.run)
    lane.leave(0)
    model.end()
    assert isinstance(first.exception(), Left)
    after = ask(lane, one("ghi"))
    assert model.run() == ["ghi"]
    assert is_right(after, one("ghi"))
    for answer in (first, waiting, after):
        lane.leave(answer.run)
    assert is_right(after, one("ghi"))


@pytest.mark.parametrize("batches", range(7))
def test_whenever_a_bulk_is_left_no_batch_of_it_is_begun_afterwards(batches: int, model: ByHand, lane: RowLane) -> None:
    bulk, other = ask(lane, BULK), ask(lane, Embed(("x" * 14,) * 8))
    ran = [model.run() for _ in range(min(batches, 5))]
    if batches == 6:
        wait([bulk, other])
    lane.leave(bulk.run)
    model.run_freely(10)
    assert is_right(other, Embed(("x" * 14,) * 8))
    begun_since = []
    ask(lane, one("the end")).result()
    while not model.is_idle():
        begun_since.append(model.begun())
    of_bulk = [batch for batch in begun_since if batch[0].startswith("bulk")]
    assert len(of_bulk) <= 1, "only one that was under way"
    assert bulk.done()
    if bulk.exception() is None:
        assert is_right(bulk, BULK)
        assert sum(batch[0].startswith("bulk") for batch in ran) >= 2


Step = tuple[str, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 9)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("run"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_in_any_order_of_arrivals_and_leavers_each_is_answered_once_and_right(steps: list[Step]) -> None:
    model = ByHand(LIMITS)
    lane = model.lane("m", Turn())
    asked: list[tuple[Answer, Embed]] = []
    left: set[int] = set()
    for step, number in steps:
        match step:
            case "ask":
                task = Embed(tuple("abcdefghi"[: 1 + (number * row) % 9] for row in range(1, number + 1)))
                asked.append((ask(lane, task), task))
            case "leave":
                if number < len(asked):
                    left.add(number)
                    lane.leave(asked[number][0].run)
            case _:
                if not all(answer.done() for answer, _ in asked):
                    model.end()
    model.run_freely(200)
    for number, (answer, task) in enumerate(asked):
        error = answer.exception()  # a second answer would have raised where it was given, and ended the lane
        assert is_right(answer, task) if error is None else (isinstance(error, Left) and number in left)
    lane.close()


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


def test_a_request_that_can_not_be_read_fails_alone(model: ByHand, lane: RowLane) -> None:
    first = ask(lane, one("abc"))
    model.begun()
    bad, good = ask(lane, Embed(("def", UNREADABLE))), ask(lane, one("ghi"))
    model.end()
    assert model.run() == ["ghi"]
    assert isinstance(bad.exception(), BadRequest)
    assert is_right(first, one("abc"))
    assert is_right(good, one("ghi"))


def test_an_answer_that_is_none_is_its_requests_alone(model: ByHand, lane: RowLane) -> None:
    first = ask(lane, one("abc"))
    model.begun()
    bad, good = ask(lane, one(NO_ANSWER)), ask(lane, one("defghi"))
    model.end()
    assert model.run() == [NO_ANSWER, "defghi"]
    with pytest.raises(ValueError, match="it is no answer"):
        bad.result()
    assert is_right(first, one("abc"))
    assert is_right(good, one("defghi"))


def test_a_batch_that_fails_runs_again_request_by_request_and_fails_only_the_one_at_fault(
    model: ByHand, lane: RowLane
) -> None:
    first = ask(lane, one("abc"))
    model.begun()
    others = [ask(lane, one("def")), ask(lane, Embed(("bad", "cab"))), ask(lane, one("ghi"))]
    model.end()
    assert model.begun() == ["def", "bad", "cab", "ghi"]
    model.end(RuntimeError("index out of range"))
    assert model.run() == ["def"]
    assert model.begun() == ["bad", "cab"]
    model.end(RuntimeError("index out of range"))
    assert model.run() == ["ghi"]
    with pytest.raises(RuntimeError, match="index out of range"):
        others[1].result()
    assert [is_right(answer, one(text)) for answer, text in zip(others[::2], ("def", "ghi"), strict=True)] == [True] * 2
    assert is_right(first, one("abc"))


class Spilling(ByHand):
    """Whose batches fail with tensors in their hands."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.held: list[weakref.ref[torch.Tensor]] = []

    def forward(self, rows: Sequence[str]) -> torch.Tensor:
        activations = torch.zeros(len(rows), 8)
        self.held.append(weakref.ref(activations))
        raise RuntimeError("index out of range")


def test_of_a_batch_that_failed_nothing_is_kept() -> None:
    model = Spilling()
    lane = model.lane("m", Turn())
    answers = [ask(lane, one("abc")), ask(lane, Embed(("def", "ghi")))]
    wait(answers)
    assert all(isinstance(answer.exception(), RuntimeError) for answer in answers)
    assert [activations() for activations in model.held] == [None] * len(model.held)
    lane.close()


def test_a_bulk_whose_batch_fails_is_over_and_the_next_request_runs(model: ByHand, lane: RowLane) -> None:
    bulk = ask(lane, BULK)
    model.begun()
    model.end(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        bulk.result()
    after = ask(lane, one("abc"))
    assert model.run() == ["abc"]
    assert is_right(after, one("abc"))


def test_where_memory_lacks_a_batch_runs_in_parts_that_all_answer() -> None:
    model = ByHand(LIMITS, memory := ScriptedMemory(), room=8)
    lane = model.lane("m", Turn())
    first = ask(lane, one("abc"))
    model.begun()
    texts = ("def", "ghi", "jkl", "mno")
    others = [ask(lane, one(text)) for text in texts]
    model.end()
    assert [model.run(), model.run()] == [["def", "ghi"], ["jkl", "mno"]]
    assert all(is_right(answer, one(text)) for answer, text in zip([first, *others], ("abc", *texts), strict=True))
    assert memory.collected == 2
    lane.close()


def test_a_row_that_is_too_much_alone_fails_its_request_and_no_other() -> None:
    model = ByHand(LIMITS, room=6)
    lane = model.lane("m", Turn())
    first = ask(lane, one("abc"))
    model.begun()
    others = [ask(lane, one("defg")), ask(lane, Embed(("hijklmn", "opqr"))), ask(lane, one("stuv"))]
    model.end()
    model.run_freely(10)
    with pytest.raises(OutOfMemory, match="no memory left for a run of 1"):
        others[1].result()
    assert is_right(first, one("abc"))
    assert is_right(others[0], one("defg"))
    assert is_right(others[2], one("stuv"))
    lane.close()


# ── what a run is found to take ──────────────────────────────────────────────────────────────────


def test_a_run_is_told_the_most_that_its_batches_took_and_how_full_the_fullest_was() -> None:
    model = ByHand(LIMITS, ScriptedMemory(5, 9, 7))
    lane = model.lane("m", Turn())
    answer = ask(lane, BULK)
    model.run_freely(3)
    outcome = answer.result()
    assert (outcome.workspace_bytes, outcome.used_bytes) == (9, 100)
    assert outcome.filled == 4 * len("bulk 00") / (4 * 16)
    assert outcome.device_s > 0
    lane.close()


def test_nothing_is_said_of_memory_where_one_of_its_batches_could_not_be_measured() -> None:
    model = ByHand(LIMITS, ScriptedMemory(5, None, 7))
    lane = model.lane("m", Turn())
    answer = ask(lane, BULK)
    model.run_freely(3)
    assert answer.result().workspace_bytes is None
    lane.close()


def test_those_that_share_a_batch_share_its_time_by_their_tokens(model: ByHand, lane: RowLane) -> None:
    first = ask(lane, one("abc"))
    model.begun()
    others = [ask(lane, one("defdef")), ask(lane, Embed(("ghi", "jkl")))]
    model.end()
    model.run()
    one_row, two_rows = (answer.result().device_s for answer in others)
    assert one_row == pytest.approx(two_rows)
    assert first.result().device_s > 0


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


def test_a_closed_lane_answers_whom_it_has_taken_and_takes_nobody_more(model: ByHand, lane: RowLane) -> None:
    taken = [ask(lane, one("abc"))]
    model.begun()
    taken.append(ask(lane, one("def")))
    lane.close()
    with pytest.raises(NotResident, match="m has just left this device"):
        ask(lane, one("ghi"))
    model.end()
    assert model.run() == ["def"]
    assert is_right(taken[0], one("abc"))
    assert is_right(taken[1], one("def"))
