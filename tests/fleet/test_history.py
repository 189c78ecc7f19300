"""The boxes' journals as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.records import Notice, Record
from fleet.history import FleetHistory


def _journal(*at_s: float) -> list[Record]:
    return [Record(number, Notice(when, "info", f"at {when:g}")) for number, when in enumerate(at_s, 1)]


def _texts(history: FleetHistory, after: int = 0) -> list[str]:
    return [getattr(record.entry, "text", "") for record in history.after(after)]


def test_records_are_in_the_order_of_their_time_and_numbered_by_it() -> None:
    history = FleetHistory()
    history.connected("box1", _journal(1.0, 3.0))
    history.connected("box2", _journal(2.0))
    assert _texts(history) == ["box1: at 1", "box2: at 2", "box1: at 3"]
    assert [record.seq for record in history.after(0)] == [1_000_000, 2_000_000, 3_000_000]


def test_news_that_comes_late_is_numbered_behind_what_was_told_already() -> None:
    history = FleetHistory()
    history.connected("box1", _journal(5.0))
    history.connected("box2", [])
    history.connected("box2", _journal(4.0))
    told = history.last_seq
    history.add("box2", Record(2, Notice(3.0, "info", "late")))
    assert _texts(history, told) == ["box2: late"]


def test_what_was_told_already_is_not_told_again() -> None:
    history = FleetHistory()
    past = _journal(1.0, 2.0)
    history.connected("box1", past)
    history.connected("box1", _journal(1.0, 2.0, 3.0))
    history.add("box1", _journal(1.0, 2.0, 3.0)[-1])
    assert _texts(history) == ["box1: at 1", "box1: at 2", "box1: at 3"]


def test_a_box_that_began_another_journal_is_followed_from_its_first_line() -> None:
    history = FleetHistory()
    history.connected("box1", _journal(1.0, 2.0))
    history.connected("box1", _journal(9.0))
    assert _texts(history)[-1] == "box1: at 9"


def test_conditions_of_two_boxes_are_not_taken_for_one() -> None:
    history = FleetHistory()
    for box in ("box1", "box2"):
        history.connected(box, [Record(1, Notice(1.0, "error", "the driver hangs", condition="driver"))])
    conditions = [getattr(record.entry, "condition", "") for record in history.after(0)]
    assert conditions == ["box1: driver", "box2: driver"]


_TIMES = st.lists(st.floats(1.0, 100.0), max_size=8).map(sorted)


@given(st.lists(_TIMES, min_size=1, max_size=3), st.data())
def test_a_service_that_started_anew_tells_each_what_it_missed_once(
    journals: list[list[float]], data: st.DataObject
) -> None:
    """Whatever had been told before, the rest comes, and nothing twice."""
    boxes = [f"box{number}" for number in range(len(journals))]
    whole = FleetHistory()
    for box, times in zip(boxes, journals, strict=True):
        whole.connected(box, _journal(*times))
    everything = whole.after(0)
    told = data.draw(st.integers(0, len(everything)))
    after = everything[told - 1].seq if told else 0

    anew = FleetHistory()
    for box, times in zip(boxes, journals, strict=True):
        anew.connected(box, _journal(*times))
    assert anew.after(after) == everything[told:]
