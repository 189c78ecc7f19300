"""The log's columns: on a wide screen as wide as needed, and worked out anew only for what is new."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.log import Log, log_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.words.records import record_text
from engine.core.plans import LoadStep
from engine.core.records import Record
from tests.scripted_plans import START_S
from tests.viewmodel.test_rows_and_figures import PLAN, switch, text_of

REASON = "gpu0 has room: 224 MiB stay free in its budget"
SHORT = replace(switch(0.4, evict=0.01, copy=0.3, bind=0.02), plan=replace(PLAN, reasons=(REASON,)))
LONG = replace(SHORT, total_s=1.3, phases=switch(0, drain=0.02, evict=0.01, settle=0.1, copy=0.9, bind=0.1).phases)


def texts(*records: Record, width: int) -> list[str]:
    return [text_of(line) for line in log_lines(records, Paper(width, UNICODE)).values()]


def test_a_wide_screen_gives_reasons_the_room_that_no_other_column_needs() -> None:
    assert texts(Record(1, SHORT), width=140)[0].rstrip().endswith(f"pred 1.30  {REASON}")
    assert REASON not in texts(Record(1, SHORT), width=139)[0]


def test_figures_stand_below_each_other_whatever_phases_a_switch_had() -> None:
    for width in (140, 160, 200, 300):
        shown = texts(Record(1, SHORT), Record(2, LONG), width=width)
        assert len({line.index("pred") for line in shown}) == 1
        assert {len(line) for line in shown} == {width}


def test_lesser_phases_are_left_out_and_never_cut_in_the_middle() -> None:
    many = replace(LONG, phases=switch(0, drain=0.02, evict=0.01, settle=0.1, read=2.9, copy=0.9, warm=0.3).phases)
    assert "…" not in texts(Record(1, many), width=200)[0]


def test_a_line_that_was_seen_is_the_same_one_until_the_columns_change() -> None:
    log = Log()
    first, second = Record(1, SHORT), Record(2, replace(SHORT, at_s=START_S + 1))
    before = log.lines((first,), Paper(160, UNICODE))[1]
    assert log.lines((first, second), Paper(160, UNICODE))[1] is before
    wider = log.lines((first, second, Record(3, LONG)), Paper(160, UNICODE))
    assert wider[1] != before
    assert wider == log_lines((first, second, Record(3, LONG)), Paper(160, UNICODE))


def test_one_more_copy_is_told_from_a_move_as_citadel_log_does() -> None:
    load = LoadStep("e5-small", "gpu1", 1, "ram", stays=("gpu0",))
    copied = replace(SHORT, plan=replace(PLAN, steps=(load,)))
    for width in (60, 100, 200):
        assert "e5-small → also gpu1" in texts(Record(1, copied), width=width)[0]
    assert "e5-small → also gpu1" in record_text(Record(1, copied), str)


def test_another_engines_record_of_the_same_number_has_a_line_of_its_own() -> None:
    log = Log()
    log.lines((Record(1, SHORT),), Paper(160, UNICODE))
    assert "9.00 s" in text_of(log.lines((Record(1, replace(SHORT, total_s=9.0)),), Paper(160, UNICODE))[1])
