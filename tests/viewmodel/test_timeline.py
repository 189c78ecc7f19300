"""The timeline in cells: what stands in which column, whatever there is and however wide the screen."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citadel_tui.timeline.chronicle import Chronicle
from citadel_tui.viewmodel import timeline
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, width_of
from citadel_tui.viewmodel.time_columns import COLUMN_SECONDS, View
from citadel_tui.viewmodel.timeline import Moment, devices_of, edge_lines, edge_text, edges_of, lanes, timeline_lines
from engine.api import Snapshot
from engine.core.names import DeviceId
from engine.core.records import Record, Residency
from tests.fleet_snapshots import busy_places, fleet_state
from tests.timeline.night import BEGAN_S, BGE, E5, PHI, Night
from tests.timeline.night_engine import NOW, whole_night

LABEL = 9
"""Cells before the columns, of devices with names of four letters."""


def drawn(
    night: Night, now: float, *, width: int = 80, column_s: int = 20, glyphs: Glyphs = UNICODE, last: int | None = None
) -> list[str]:
    """The rows of gpu0 and gpu1, as far as their columns go."""
    moment = Moment(night.chronicle, BEGAN_S + now, BEGAN_S + now)
    view = View(column_s, None if last is None else int(BEGAN_S // column_s) + last)
    found = lanes(moment, ("gpu0", "gpu1"), view, Paper(width, glyphs))
    return ["".join(span.text for span in row) for lane in found for row in lane]


def test_a_night_is_seen_at_a_glance() -> None:
    assert drawn(whole_night(), NOW) == [
        " gpu0    ··╌━phi-3-mini░░░░░░░×░bge-base░░░░░!··           ·····················",
        "         ···╌━e5-small░░░░░░░░░░░░░░░░░░░░░░░!··           ·····················",
        " gpu1    ······························!phi-3-mini failed: …p××××××▓phi-3-mini▓▓",
    ]


def test_models_that_chase_each_other_are_a_comb_and_nearer_by_who_it_was() -> None:
    row = drawn(whole_night(), 1180, column_s=5)[-1]
    assert row.endswith("╌━phi×━bg×▓ph×▓bg×▓ph×▓bg×▓phi-3")


def test_a_terminal_without_more_has_ascii_only() -> None:
    rows = drawn(whole_night(), NOW, glyphs=ASCII)
    assert rows[0] == " gpu0    ..-_phi-3-mini=======x=bge-base=====!..           ....................."
    moment = Moment(whole_night().chronicle, BEGAN_S + NOW, BEGAN_S + NOW)
    for edge in edges_of(moment):
        lines = edge_lines(edge, moment, ("gpu0", "gpu1"), View(), Paper(80, ASCII))
        assert all(span.text.isascii() for line in lines for span in line)


def test_idle_and_answering_are_told_apart_by_the_column() -> None:
    night = Night()
    night.started()
    night.load(0, E5, "gpu0")
    night.look(0)
    night.looks(20, 100, ())
    night.looks(120, 140, (E5,))
    night.looks(160, 200, ())
    row = drawn(night, 200, column_s=10)[0]
    # The name hides nine columns; it answered between the looks at 100 and at 140 seconds.
    assert row[-21:] == "░e5-small░▓▓▓▓▓░░░░░░"


def test_the_larger_of_two_stands_above_whoever_came_first() -> None:
    night = Night()
    night.load(0, E5, "gpu0")
    night.load(100, PHI, "gpu0")
    rows = drawn(night, 400)
    assert "phi-3-mini" in rows[0]
    assert "e5-small" in rows[1]


def test_a_column_alone_has_the_models_first_letter() -> None:
    night = Night()
    night.resident(0, (PHI, "gpu0"))
    night.resident(19)
    assert drawn(night, 40)[0][-3:] == "p··"


def test_a_stay_that_began_before_what_is_in_sight_is_named_at_its_edge() -> None:
    night = Night()
    night.load(0, PHI, "gpu0")
    night.looks(20, 4000, (PHI,))
    assert drawn(night, 4000)[0][LABEL:].startswith("▓phi-3-mini▓▓▓")


def test_nothing_is_shown_that_is_not_known() -> None:
    night = Night()
    night.load(100, PHI, "gpu0")
    row = drawn(night, 200)[1]
    assert row[LABEL:].strip(" ") == "·" * 6
    assert Moment(Chronicle(), BEGAN_S, BEGAN_S).chronicle.since_s is None
    lines = timeline_lines(Moment(Chronicle(), BEGAN_S, BEGAN_S), ("gpu0",), View(), Paper(80, UNICODE))
    assert "nothing is known of the past yet" in "".join(span.text for span in lines[1])


def test_an_engine_that_loaded_nothing_and_has_gone_leaves_a_sentence_and_not_an_empty_timeline() -> None:
    night = Night()
    night.started()
    moment = Moment(night.chronicle, BEGAN_S + 60, BEGAN_S + 60)
    lines = timeline_lines(moment, devices_of(night.chronicle, None), View(), Paper(80, UNICODE))
    assert "nothing was loaded on any device" in "".join(span.text for span in lines[1])


def test_what_lies_ahead_of_a_playback_is_not_shown() -> None:
    night = whole_night()
    rows = drawn(night, 430)
    assert "failed" not in "".join(rows)
    assert rows[0].endswith("phi-3-mini░░░░░░░×")
    assert len(edges_of(Moment(night.chronicle, BEGAN_S + 430, BEGAN_S + 430))) == 4


def test_what_came_after_the_line_was_lost_is_blank() -> None:
    night = Night()
    night.load(0, PHI, "gpu0")
    moment = Moment(night.chronicle, BEGAN_S + 200, BEGAN_S + 100)
    (row,) = lanes(moment, ("gpu0",), View(), Paper(80, UNICODE))[0]
    assert "".join(span.text for span in row).endswith("━phi-3" + " " * 5)


def test_names_from_a_damaged_journal_harm_nothing() -> None:
    chronicle = Chronicle()
    names = ("漢字", "a\x1b[31m", "x" * 300, "")
    chronicle.record(Record(1, Residency(BEGAN_S, tuple((name, "gpu0") for name in names), {})))
    moment = Moment(chronicle, BEGAN_S + 900, BEGAN_S + 900)
    found = lanes(moment, ("gpu0",), View(), Paper(80, UNICODE))[0]
    assert len(found) == 4
    assert {width_of(row) for row in found} == {80}
    assert all(span.text.isprintable() for row in found for span in row)


def test_a_device_that_is_gone_keeps_its_lane() -> None:
    night = Night()
    night.load(0, PHI, "gpu7")
    assert devices_of(night.chronicle, None) == ("gpu7",)


events = st.lists(
    st.tuples(
        st.sampled_from(("load", "fail", "die", "start", "look", "leave")),
        st.sampled_from((PHI, BGE, E5)),
        st.sampled_from(("gpu0", "gpu1")),
        st.floats(-500, 2000),
    ),
    max_size=30,
)


def lived(steps: Sequence[tuple[str, str, DeviceId, float]]) -> Night:
    """A night in which time passes, and sometimes goes back."""
    night, at = Night(), 0.0
    for what, model, device, passed in steps:
        at += passed
        match what:
            case "load":
                night.load(at, model, device)
            case "fail":
                night.load(at, model, device, outcome="failed", reason="no room")
            case "die":
                night.die(at, device, f"{device} died")
            case "start":
                night.started(at)
            case "look":
                night.look(at, model)
            case _:
                night.resident(at)
    return night


@given(events, st.integers(20, 240), st.sampled_from(COLUMN_SECONDS), st.floats(-3000, 9000))
def test_whatever_happened_each_row_is_as_wide_as_the_screen_and_no_stay_ends_before_it_began(
    steps: list[tuple[str, str, DeviceId, float]], width: int, column_s: int, now: float
) -> None:
    night = lived(steps)
    for stay in night.chronicle.stays:
        assert stay.ended_s is None or stay.ended_s >= stay.ready_s
        assert all(use.from_s <= use.until_s for use in stay.uses)
    assert {len(row) for row in drawn(night, now, width=width, column_s=column_s)} == {width}


@given(events, st.integers(1, 8))
def test_where_rows_are_few_no_lane_is_without_one_and_what_hides_is_counted(
    steps: list[tuple[str, str, DeviceId, float]], rows: int
) -> None:
    night = lived(steps)
    moment = Moment(night.chronicle, night.chronicle.until_s, night.chronicle.until_s)
    devices, paper = ("gpu0", "gpu1"), Paper(80, UNICODE)
    every = lanes(moment, devices, View(), paper)
    shown = timeline_lines(moment, devices, View(), paper, rows=rows)[1:]
    if night.chronicle.since_s is None:
        return
    assert len(shown) == min(rows, sum(map(len, every)))
    said = sum(int(text.partition("+")[2] or 0) for line in shown if "+" in (text := line[0].text))
    names = {line[0].text.split("+")[0].strip() for line in shown} - {""}
    assert len(names) == min(rows, len(every))
    assert len(shown) + said == sum(len(lane) for lane in every if lane[0][0].text.strip() in names)


def test_where_devices_do_not_fit_those_are_shown_where_something_was_and_the_others_are_counted() -> None:
    night = Night()
    night.started()
    night.load(60, PHI, "gpu9")
    moment = Moment(night.chronicle, BEGAN_S + 400, BEGAN_S + 400)
    devices = tuple(f"gpu{number}" for number in range(12))
    head, *shown = timeline_lines(moment, devices, View(), Paper(100, UNICODE), rows=3)
    assert [line[0].text.strip() for line in shown] == ["gpu0", "gpu1", "gpu9"]
    assert "; 9 devices more" in "".join(span.text for span in head)


# ── edges ─────────────────────────────────────────────────────────────────────────────────────────


def texts() -> list[str]:
    moment = Moment(whole_night().chronicle, BEGAN_S + NOW, BEGAN_S + NOW)
    return [edge_text(edge, moment, UNICODE).split(" ", 1)[1] for edge in edges_of(moment)]


def test_an_edge_says_what_it_cost_and_who_asked() -> None:
    assert texts()[:8] == [
        "the engine started",
        "phi-3-mini → gpu0  0.20 s, predicted 0.20 s; asked by a request",
        "e5-small → gpu0  0.20 s, predicted 0.20 s; asked by an operator",
        "bge-base → gpu0 × phi-3-mini  0.20 s, predicted 0.20 s; asked by a request",
        "phi-3-mini → gpu1  0.20 s, predicted 0.20 s; asked by a request; failed: the card was lost",
        "gpu0: the worker was killed by SIGKILL; its models come back",
        "the engine started, 4m after the last that is known of the one before",
        "phi-3-mini → gpu1  0.20 s, predicted 0.20 s; asked by a restart",
    ]


def test_its_mark_stands_below_its_column_wherever_the_screen_ends() -> None:
    moment = Moment(whole_night().chronicle, BEGAN_S + NOW, BEGAN_S + NOW)
    edge = edges_of(moment)[3]
    for width in (60, 80, 160):
        paper = Paper(width, UNICODE)
        row = lanes(moment, ("gpu0", "gpu1"), View(), paper)[0][0]
        pointer: Line = edge_lines(edge, moment, ("gpu0", "gpu1"), View(), paper)[0]
        at = "".join(span.text for span in pointer).find(UNICODE.pointer)
        assert at == -1 or "".join(span.text for span in row)[at] == UNICODE.out


# ── which columns ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("column_s", COLUMN_SECONDS)
def test_columns_begin_at_multiples_of_their_length_so_that_they_move_once_a_column(column_s: int) -> None:
    view = View(column_s)
    at = BEGAN_S // column_s * column_s
    assert view.columns(at, 70) == view.columns(at + column_s - 0.01, 70)
    assert view.columns(at + column_s, 70) == range(view.columns(at, 70).start + 1, view.columns(at, 70).stop + 1)


@given(st.sampled_from(COLUMN_SECONDS), st.integers(-2000, 2000), st.integers(-12, 12), st.integers(1, 300))
def test_no_view_goes_beyond_the_present_and_at_the_present_it_follows(
    column_s: int, moved: int, zoomed: int, count: int
) -> None:
    view = View(column_s).moved(moved, BEGAN_S).zoomed(zoomed, BEGAN_S, count)
    assert view.column_s in COLUMN_SECONDS
    assert view.last is None or view.last < BEGAN_S // view.column_s
    assert len(view.columns(BEGAN_S, count)) == count
    if moved >= 0:
        assert view.last is None


@given(st.sampled_from(COLUMN_SECONDS), st.floats(0, 10**6), st.integers(2, 300))
def test_a_moment_is_brought_into_sight(column_s: int, ago: float, count: int) -> None:
    view = View(column_s).showing(BEGAN_S - ago, BEGAN_S, count)
    assert int((BEGAN_S - ago) // column_s) in view.columns(BEGAN_S, count)


@pytest.mark.parametrize("most", [0, 1, 8])
def test_only_lanes_that_are_shown_are_drawn(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    snapshot = Snapshot(1, BEGAN_S, fleet_state(100, 4, 40, busy_places(100, 4, 40)))
    chronicle = Chronicle()
    chronicle.showed(snapshot)
    devices = devices_of(chronicle, snapshot)
    draw = Mock(side_effect=timeline._Canvas._row, autospec=True)
    monkeypatch.setattr(timeline._Canvas, "_row", lambda *given: draw(*given))
    shown = lanes(Moment(chronicle, BEGAN_S + 1, BEGAN_S + 1, snapshot), devices, View(), Paper(160, UNICODE), most)
    assert draw.call_count == sum(map(len, shown)) == most
