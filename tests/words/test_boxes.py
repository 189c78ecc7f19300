"""Boxes of a fleet in words: how they stand, what was on them, and which was meant."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.words.alerts import Alert, alerts
from citadel_tui.words.boxes import banners_of, fleet_text, standing_words, unknown_box, unknown_device
from citadel_tui.words.figures import clock_text
from citadel_tui.words.health import age_s_of, shown_reading
from engine.api import PROTOCOL, Hello, Snapshot
from engine.core.boxes import BoxView
from engine.core.records import Notice, Record
from tests.fleet_snapshots import DRAINED, GONE, NEVER, OTHER, READY, SILENT, boxes_of, fleet_state
from tests.scripted_plans import START_S, scripted_state

HELLO = Hello(PROTOCOL, "0.1.0", "head", 1, START_S - 600, "/etc/citadel")


def snapshot(**other: BoxView) -> Snapshot:
    state = fleet_state()
    return Snapshot(1, START_S, state, boxes=boxes_of(state, **other))


def told(shown: Snapshot, *notices: Notice) -> list[Alert]:
    records = [Record(number, notice) for number, notice in enumerate(notices, 1)]
    return list(alerts(HELLO, shown, records, START_S - 3600))


def test_a_fleet_counts_the_boxes_that_do_not_answer_and_those_that_take_nothing() -> None:
    assert fleet_text(snapshot().boxes) == "fleet of 3 boxes"
    assert fleet_text(snapshot(box1=DRAINED, box2=SILENT, box3=GONE, box4=OTHER).boxes) == (
        "fleet of 4 boxes, 1 silent, 1 unreachable, 1 of another version, 1 drained"
    )


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (READY, ""),
        (DRAINED, "drained: it takes nothing new"),
        (SILENT, f"silent since {clock_text(START_S - 12)}: no sign of life"),
        (GONE, f"unreachable since {clock_text(START_S - 300)}: no route to host"),
        (NEVER, "unreachable, never heard yet: its name is not known"),
        (OTHER, "of another version (0.0.9): its engine speaks protocol 6"),
    ],
)
def test_how_a_box_stands(box: BoxView, words: str) -> None:
    assert standing_words(box, START_S) == words


def test_a_box_that_is_gone_is_one_alert_which_says_what_was_on_it() -> None:
    (alert,) = told(snapshot(box2=GONE))
    assert alert.text == "box2 is unreachable: no route to host; on it: all-MiniLM-L6-v2 and bge-base"
    assert (alert.severity, alert.at_s) == ("error", START_S - 300)


def test_what_the_log_said_of_a_box_and_what_is_known_of_it_is_one_alert_that_is_over_with_it() -> None:
    lost = Notice(START_S - 300, "error", "box2 does not answer", condition="box box2")
    assert len(told(snapshot(box2=GONE), lost)) == 1
    back = Notice(START_S - 10, "info", "box2 is back", condition="box box2", over=True)
    (over,) = told(snapshot(), lost, back)
    assert over.until_s == START_S - 10


def test_a_drained_box_is_no_alert() -> None:
    assert told(snapshot(box2=DRAINED)) == []


def test_devices_of_a_box_that_is_not_heard_are_stale_for_as_long() -> None:
    shown = snapshot(box2=SILENT)
    assert shown_reading(shown, "box2/gpu0").health == "stale"
    assert shown_reading(shown, "box1/gpu0").health == "ok"
    assert age_s_of(shown, "box2/gpu0", 3.0) == 15.0


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("box2/gpu1", ""),
        ("bxo2/gpu1", "no box is named bxo2 (did you mean box2?); the boxes are box1, box2 and box3"),
        ("box2/gpu7", "box2 has no gpu7; it has box2/gpu0, box2/gpu1 and box2/cpu"),
        ("gpu1", "which box's gpu1? write box1/gpu1, box2/gpu1 or box3/gpu1"),
    ],
)
def test_a_device_that_there_is_not(device: str, words: str) -> None:
    assert unknown_device(snapshot(), device) == words


def test_an_engine_without_boxes_says_so() -> None:
    alone = Snapshot(1, START_S, scripted_state())
    assert unknown_device(alone, "gpu0") == ""
    assert unknown_device(alone, "box2/gpu0") == (
        "there is no device box2/gpu0; boxes are a fleet's, and this engine has none: write gpu0; the devices are gpu0, gpu1 and "
        "cpu"
    )


def test_of_a_hundred_boxes_a_few_are_named() -> None:
    shown = Snapshot(1, START_S, scripted_state(), boxes={f"box{number}": READY for number in range(100)})
    assert unknown_box(shown, "elsewhere").endswith("box6, box7 and 92 more")


def test_what_all_boxes_must_say_is_said_once() -> None:
    virtual = replace(READY, banner="the GPUs are virtual")
    assert list(banners_of(HELLO, snapshot(box1=virtual, box2=virtual, box3=virtual).boxes)) == ["the GPUs are virtual"]
    assert list(banners_of(HELLO, snapshot(box1=virtual).boxes)) == ["box1: the GPUs are virtual"]
