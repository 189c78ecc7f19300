"""Who was where and when, from records and looks: each stay with its end, each edge, and what is not known."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.timeline.chronicle import Chronicle, Period, Place, Stay, take_up
from engine.api import Snapshot
from engine.core.records import Notice, Record, Residency, SwitchOutcome
from engine.core.state import Resident
from tests.scripted_plans import scripted_state
from tests.timeline.night import BEGAN_S, BGE, E5, PHI, SIZES, Night


def told(stays: list[Stay]) -> list[tuple[str, str, float, float | None, str]]:
    """Model, device, from, until and end of each, in seconds since the beginning."""
    return [
        (s.model, s.device, s.ready_s - BEGAN_S, None if s.ended_s is None else s.ended_s - BEGAN_S, s.end)
        for s in stays
    ]


def test_a_stay_lasts_from_ready_to_the_switch_that_needs_its_place() -> None:
    night = Night()
    night.started()
    night.load(60, PHI, "gpu0", took=4.0)
    night.load(420, BGE, "gpu0", PHI, took=4.0)
    assert told(night.chronicle.stays) == [(PHI, "gpu0", 60, 416, "victim"), (BGE, "gpu0", 420, None, "")]
    first = night.chronicle.stays[0]
    assert (first.came_s, first.size_bytes) == (BEGAN_S + 56, SIZES[PHI])


def test_who_came_and_left_is_known_of_an_engine_that_no_look_was_taken_at() -> None:
    night = Night()
    night.started()
    night.load(60, PHI, "gpu0")
    night.load(70, E5, "cpu")
    night.evict(90, E5, "cpu")
    assert told(night.chronicle.stays) == [(E5, "cpu", 70, 90, "taken off"), (PHI, "gpu0", 60, None, "")]


def test_a_victim_is_one_whether_a_look_came_before_the_record_or_after() -> None:
    for early in (False, True):
        night = Night()
        night.load(60, PHI, "gpu0")
        if early:
            night.chronicle.showed(snapshot(419.9))
        night.load(420, BGE, "gpu0", PHI)
        night.chronicle.showed(replace(snapshot(421), state=replace(scripted_state(), residents=(bge(420),))))
        ends = [(stay.model, stay.end) for stay in night.chronicle.stays]
        assert ends == [(PHI, "victim"), (BGE, "")], early


def test_journals_of_earlier_versions_say_by_themselves_who_is_there() -> None:
    night = Night()
    night.load(60, E5, "gpu0")
    night.load(90, E5, "gpu1")
    night.resident(120, (E5, "gpu1"))
    assert told(night.chronicle.stays) == [(E5, "gpu0", 60, 120, "gone"), (E5, "gpu1", 90, None, "")]


def test_a_load_that_fails_leaves_the_reason_and_nobody() -> None:
    night = Night()
    night.started()
    night.load(610, PHI, "gpu1", took=3.0, outcome="failed", reason="the card was lost")
    assert night.chronicle.stays == []
    (failed,) = night.chronicle.failures
    assert (failed.came_s, failed.at_s, failed.reason) == (BEGAN_S + 607, BEGAN_S + 610, "the card was lost")
    assert [edge.kind for edge in night.chronicle.edges] == ["start", "failure"]


def test_residents_that_a_dead_worker_took_along_are_lost_then_however_late_it_is_seen() -> None:
    night = Night()
    night.look(0)
    night.load(60, PHI, "gpu0")
    night.load(80, E5, "gpu1")
    night.look(700)
    night.die(720, "gpu0", "gpu0: the worker was killed")
    night.look(730)
    night._there.clear()
    night.look(898)
    night.write(Notice(BEGAN_S + 900, "error", "gpu1 was lost", "gpu1"))
    assert told(night.chronicle.stays) == [(PHI, "gpu0", 60, 720, "lost"), (E5, "gpu1", 80, 898, "lost")]


def test_what_is_loaded_anew_was_lost_before() -> None:
    night = Night()
    night.load(60, PHI, "gpu0")
    night.look(700)
    night.die(720, "gpu0", "gpu0: the worker was killed")
    night.load(724, PHI, "gpu0", origin="restore")
    assert told(night.chronicle.stays) == [(PHI, "gpu0", 60, 720, "lost"), (PHI, "gpu0", 724, None, "")]


def test_a_restart_ends_all_stays_at_the_last_word_of_the_engine_before() -> None:
    night = Night()
    night.started()
    night.load(60, PHI, "gpu0")
    night.looks(80, 160, ())
    night.started(1000)
    night.load(1030, PHI, "gpu0", origin="restore")
    assert told(night.chronicle.stays) == [(PHI, "gpu0", 60, 160, "down"), (PHI, "gpu0", 1030, None, "")]
    assert list(night.chronicle.gaps) == [Period(BEGAN_S + 160, BEGAN_S + 1000)]


def test_uses_are_what_samples_say_since_the_one_before_and_never_before_the_model_was_ready() -> None:
    night = Night()
    night.look(0)
    night.load(30, PHI, "gpu0")
    for at in (40, 60, 80):
        night.look(at, PHI)
    night.look(100)
    night.look(120, PHI)
    (stay,) = night.chronicle.stays
    assert stay.uses == (Period(BEGAN_S + 30, BEGAN_S + 80), Period(BEGAN_S + 100, BEGAN_S + 120))
    assert list(night.chronicle.looks) == [Period(BEGAN_S, BEGAN_S + 120)]


def test_a_year_of_requests_now_and_then_is_kept_in_few_uses() -> None:
    night = Night()
    night.load(0, PHI, "gpu0")
    for hour in range(20_000):
        night.look(hour * 3600 + 1)
        night.look(hour * 3600 + 31, PHI)
    assert len(night.chronicle.stays[0].uses) < 5000


def test_a_clock_that_was_set_back_puts_what_lies_ahead_just_before_now() -> None:
    night = Night()
    night.load(3600, PHI, "gpu0")
    night.load(3700, E5, "gpu0")
    night.load(100, BGE, "gpu0", PHI)  # an hour was taken off the clock
    night.load(160, BGE, "gpu1")
    assert told(night.chronicle.stays) == [
        (PHI, "gpu0", 100, 100, "victim"),
        (E5, "gpu0", 100, None, ""),
        (BGE, "gpu0", 100, None, ""),
        (BGE, "gpu1", 160, None, ""),
    ]
    times = [edge.at_s for edge in night.chronicle.edges]
    assert times == sorted(times)
    assert night.chronicle.until_s == BEGAN_S + 160


def test_where_the_journal_begins_amid_things_a_sample_says_who_was_there() -> None:
    night = Night()
    night._there[PHI, "gpu0"] = None
    night.look(0, PHI)
    night.look(30, PHI)
    assert told(night.chronicle.stays) == [(PHI, "gpu0", 0, None, "")]
    assert night.chronicle.since_s == BEGAN_S


@pytest.mark.parametrize("ended", ["done", "failed", "cancelled", None])
def test_what_a_sample_shows_on_its_way_is_there_once_its_load_is_done(ended: SwitchOutcome | None) -> None:
    night = Night()
    night.started()
    night._there[PHI, "gpu0"] = None
    night.look(10)
    night.look(15)
    if ended is None:
        night.chronicle.showed(snapshot(19, resident("loading", since=9)))
    else:
        night.load(20, PHI, "gpu0", took=11.0, outcome=ended)
    there = [(PHI, "gpu0", 20, None, "")] if ended == "done" else []
    assert told(night.chronicle.stays) == there


def snapshot(at: float, *residents: Resident) -> Snapshot:
    return Snapshot(1, BEGAN_S + at, replace(scripted_state(), residents=residents))


def resident(stage: str = "ready", since: float = 0, **changes: object) -> Resident:
    footprint = scripted_state().models[PHI].footprint
    return replace(Resident(PHI, "gpu0", "ready", footprint, BEGAN_S + since), stage=stage, **changes)


def bge(since: float) -> Resident:
    return replace(resident(since=since), model=BGE)


def test_a_look_at_the_engine_tells_residents_since_when_they_are_there_and_whether_they_answer() -> None:
    chronicle = Chronicle()
    chronicle.showed(snapshot(100, resident(since=40, idle_since_s=BEGAN_S + 40)))
    chronicle.showed(snapshot(101, resident(since=40, leases=1)))
    chronicle.showed(snapshot(102, resident(since=40, idle_since_s=BEGAN_S + 101.5)))
    chronicle.showed(snapshot(103, resident(since=40, idle_since_s=BEGAN_S + 101.5)))
    (stay,) = chronicle.stays
    assert (stay.ready_s, stay.uses) == (BEGAN_S + 40, (Period(BEGAN_S + 100, BEGAN_S + 102),))
    chronicle.showed(snapshot(104, resident("loading")))
    assert told(chronicle.stays) == [(PHI, "gpu0", 40, 104, "gone")]


def test_a_look_that_is_older_than_the_newest_record_ends_nothing() -> None:
    chronicle = Chronicle()
    chronicle.record(Record(1, Residency(BEGAN_S + 10, ((PHI, "gpu0"),), {})))
    chronicle.showed(snapshot(9.5))
    assert told(chronicle.stays) == [(PHI, "gpu0", 10, None, "")]
    night = Night()
    night.load(10, PHI, "gpu0")
    night.chronicle.showed(snapshot(9.5))
    assert told(night.chronicle.stays) == [(PHI, "gpu0", 10, None, "")]


def test_only_so_many_stays_are_kept_and_what_is_known_begins_later_then() -> None:
    night = Night()
    for number in range(2100):
        night.resident(2 * number, (PHI, "gpu0"))
        night.resident(2 * number + 1)
    assert len(night.chronicle.stays) == 2000
    assert night.chronicle.since_s == BEGAN_S + 2 * 99 + 1


def test_records_at_hand_begin_with_the_engine_or_amid_its_life() -> None:
    night = Night()
    night.load(60, PHI, "gpu0")
    night.load(1030, PHI, "gpu0", origin="restore")
    whole = Chronicle()
    take_up(whole, night.records, BEGAN_S + 1000)
    assert told(whole.stays) == [(PHI, "gpu0", 60, 60, "down"), (PHI, "gpu0", 1030, None, "")]
    amid = Chronicle()
    take_up(amid, night.records[1:], BEGAN_S + 1000)
    assert (amid.since_s, [edge.kind for edge in amid.edges]) == (BEGAN_S + 1030, ["switch"])


def test_when_a_load_began_is_known_whether_its_model_was_seen_before_the_record_or_after() -> None:
    for early in (False, True):
        night = Night()
        night.started()
        chronicle = night.chronicle
        if early:
            chronicle.showed(snapshot(60.5, resident(since=60)))
        night.load(60, PHI, "gpu0", took=4.0)
        chronicle.showed(snapshot(61, resident(since=60)))
        assert [stay.came_s for stay in chronicle.stays] == [BEGAN_S + 56], early


def test_since_when_is_worked_out_for_those_that_come_alone() -> None:
    chronicle = Chronicle()
    asked: list[Place] = []

    def since_s(place: Place) -> float:
        asked.append(place)
        return BEGAN_S

    there = {("gpu0", BGE): None}
    for second, more in enumerate(({}, {}, {("gpu1", E5): None}, {})):
        there |= more
        chronicle._hold(there, BEGAN_S + second, since_s)
    assert asked == [("gpu0", BGE), ("gpu1", E5)]
