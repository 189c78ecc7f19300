"""Table rows, log lines and figures, worked out from the scene alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.rows import ModelRow, model_rows
from citadel_tui.viewmodel.dashboard.strips import summary, summary_line
from citadel_tui.viewmodel.dashboard.table import layout_for, model_line
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs
from citadel_tui.viewmodel.log import log_lines
from citadel_tui.viewmodel.pages.plan import step_lines
from citadel_tui.viewmodel.pages.switch import waterfall
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, cut, filled, left, width_of, wrapped
from citadel_tui.words.figures import age_text, clock_text, idle_text, phase_text, range_text, seconds_text
from citadel_tui.words.plans import plan_words
from engine.core.commands import Load, SetPin
from engine.core.ledger import set_keep_alive
from engine.core.models import Footprint
from engine.core.plans import EvictStep, LoadStep, PinStep, Plan, Refusal
from engine.core.prediction import Prediction
from engine.core.records import Entry, Notice, Phases, Pinned, Record, Refused, Residency, Switch
from engine.core.sizes import MIB
from engine.core.state import Resident
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine

PLAN = Plan(
    Load("phi-3-mini", "gpu0"),
    (
        EvictStep("e5-small", "gpu0", 141 * MIB, predicted=Prediction(0.01, 0.02)),
        LoadStep("phi-3-mini", "gpu0", 480 * MIB, "ram", Prediction(1.29, 2.0)),
    ),
    ("gpu0 has the cheapest victim",),
)


def switch(total_s: float, **phases: float) -> Switch:
    return Switch("s", PLAN, "operator", START_S, total_s, Phases(**phases), floor_s=0.15)


def text_of(line: Line) -> str:
    return "".join(span.text for span in line)


def log_text(entry: Entry, width: int = 100, glyphs: Glyphs = UNICODE) -> str:
    return "\n".join(text_of(line) for line in log_lines((Record(7, entry),), Paper(width, glyphs)).values())


async def busy_scene() -> Scene:
    engine = await busy_engine()
    return Scene(START_S + 60, await engine.hello(), await engine.snapshot(), await engine.records(100))


async def rows_by_name(scene: Scene | None = None) -> dict[str, ModelRow]:
    return {row.name: row for row in model_rows(scene or await busy_scene(), UNICODE)}


async def test_a_row_says_where_a_model_is_and_where_it_rests_when_it_is_nowhere() -> None:
    rows = await rows_by_name()
    assert (rows["phi-3-mini"].where, rows["phi-3-mini"].state) == ("gpu0", "ready")
    assert (rows["bge-base"].where, rows["bge-base"].state) == ("ram", "resting")
    assert (rows["e5-small"].where, rows["e5-small"].pin) == ("cpu", "cpu")
    assert rows["all-MiniLM-L6-v2"].pin == UNICODE.pinned
    assert rows["phi-3-mini"].last_switch_s == pytest.approx(0.2)


async def test_a_model_on_the_move_shows_both_places_and_its_progress() -> None:
    scene = await busy_scene()
    assert scene.snapshot is not None
    coming = Resident("phi-3-mini", "cpu", "loading", Footprint(400 * MIB, 80 * MIB), START_S, progress=0.62)
    state = replace(scene.snapshot.state, residents=(coming, *scene.snapshot.state.residents))
    row = (await rows_by_name(replace(scene, snapshot=replace(scene.snapshot, state=state))))["phi-3-mini"]
    assert (row.where, row.state) == ("gpu0→cpu", "load 62%")


async def test_a_model_that_leaves_for_being_idle_says_in_how_long() -> None:
    scene = await busy_scene()
    assert scene.snapshot is not None
    state = set_keep_alive(scene.snapshot.state, "phi-3-mini", 300.0)
    idle = tuple(replace(resident, idle_since_s=scene.snapshot.at_s - 60) for resident in state.residents)
    shown = replace(scene, snapshot=replace(scene.snapshot, state=replace(state, residents=idle)))
    assert (await rows_by_name(shown))["phi-3-mini"].state == "ready 4m"


async def test_a_synthetic_model_is_marked_and_a_real_one_is_not() -> None:
    rows = await rows_by_name()
    layout = layout_for(80, 18)
    assert UNICODE.synthetic in text_of(model_line(rows["bge-base"], layout, UNICODE, marked=False))
    assert UNICODE.synthetic not in text_of(model_line(rows["all-MiniLM-L6-v2"], layout, UNICODE, marked=False))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200, 300])
async def test_a_row_is_as_wide_as_the_screen(width: int) -> None:
    for row in (await rows_by_name()).values():
        assert width_of(model_line(row, layout_for(width, 18), UNICODE, marked=False)) == width


async def test_an_idle_time_under_a_minute_moves_in_steps_so_that_a_quiet_table_is_not_repainted() -> None:
    assert {idle_text(seconds) for seconds in (10.0, 11.5, 14.9)} == {"10s"}


def test_a_switch_is_shown_with_its_victims_its_phases_and_what_was_predicted() -> None:
    line = log_text(switch(1.31, drain=0.02, copy=1.18, warm=0.1), width=120)
    assert line.startswith(f"  {clock_text(START_S)}▐phi-3-mini → gpu0 × e5-small")
    assert "1.31 s  drain .02 copy 1.18 warm .10  pred 1.30" in line


def test_the_dearest_phases_are_kept_when_there_is_no_room_for_all() -> None:
    line = log_text(switch(1.31, drain=0.02, read=0.3, copy=1.18, bind=0.01, warm=0.1), width=80)
    assert "copy 1.18" in line
    assert "bind" not in line


def test_a_failed_switch_says_why() -> None:
    broken = replace(switch(0.4), outcome="failed", reason="out of memory on gpu0")
    assert "failed: out of memory on gpu0, after 0.40 s" in log_text(broken)


def test_who_left_and_how_long_it_took_are_told_on_a_small_screen_too() -> None:
    line = log_text(switch(0.4, copy=0.4), width=60)
    assert "phi-3-mini → gpu0 × e5-small" in line
    assert "0.40 s" in line


def test_names_are_cut_only_where_the_columns_leave_no_room() -> None:
    plan = replace(PLAN, steps=(LoadStep("all-MiniLM-L6-v2", "gpu0", 100 * MIB, "ram"),))
    shown = ["".join(span.text for span in line) for line in step_lines(plan_words(plan, str), Paper(48, UNICODE))]
    assert shown[0].startswith(" loads  all-MiniLM-L6-v2 on gpu0")
    assert max(map(len, shown)) <= 48


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Refused("r", Refusal(Load("bge-base"), "no room on any device"), "request", START_S), "no room on any device"),
        (
            Pinned("p", Plan(SetPin("bge-base"), (PinStep("bge-base", "gpu0"),), ()), "operator", START_S),
            "pin bge-base on gpu0",
        ),
        (Notice(START_S, "warning", "gpu1: the worker was killed"), "gpu1: the worker was killed"),
    ],
)
def test_what_is_no_switch_has_its_line_too(entry: Entry, words: str) -> None:
    assert words in log_text(entry)


def test_the_residency_lines_of_the_journal_are_not_for_the_operator() -> None:
    assert log_text(Residency(START_S, (("bge-base", "gpu0"),), {})) == ""


def test_escape_sequences_and_markup_in_a_notice_are_shown_as_harmless_characters() -> None:
    shown = log_text(Notice(START_S, "error", "a[/]b \x1b[31mred\x1b[0m \x9b2J \u202egnp"))
    assert "a[/]b" in shown
    assert not set("\x1b\x9b\u202e") & set(shown)


def test_an_ascii_terminal_gets_an_ascii_log() -> None:
    assert log_text(switch(1.31, copy=1.18), glyphs=ASCII).isascii()
    assert log_text(Notice(START_S, "info", "déjà vu → gone"), glyphs=ASCII).isascii()


def test_percentiles_are_measured_values_and_the_target_is_judged_by_the_95th() -> None:
    switches = [switch(seconds) for seconds in (0.1, 0.2, 0.3, 2.5)]
    found = summary(switches)
    assert found is not None
    assert (found.p50_s, found.p95_s) == (0.2, 2.5)
    assert UNICODE.no in text_of(summary_line(switches, Paper(100, UNICODE)))


def test_percentiles_say_how_many_switches_they_are_of_and_which_are_not_counted() -> None:
    others = [
        replace(switch(9.0), tier="source"),
        replace(switch(9.0), outcome="failed"),
        replace(switch(9.0), tier="source"),
    ]
    switches = [switch(0.1), switch(0.2), *others]
    assert "p95 0.20 s of 2" in text_of(summary_line(switches, Paper(80, UNICODE)))
    assert text_of(summary_line(switches, Paper(100, UNICODE))).endswith("not counted: 2 prepared, 1 failed")


def test_first_loads_are_told_of_where_nothing_else_was_timed() -> None:
    assert text_of(summary_line([], Paper(100, UNICODE))) == "no switch yet"
    first = replace(switch(0.4), tier="source")
    assert text_of(summary_line([first], Paper(100, UNICODE))) == "first loads prepare, and are not timed"


def test_failed_switches_do_not_count_in_the_percentiles() -> None:
    assert summary([replace(switch(9.0), outcome="failed")]) is None


@given(st.text(max_size=40), st.integers(0, 60))
def test_text_made_to_a_width_has_that_width(text: str, width: int) -> None:
    shown = UNICODE.text(text)
    assert width_of(filled((Span(left(shown, 10)),), width)) == width
    assert len(cut(shown, width)) <= max(len(shown), width)


@given(st.text(alphabet="abc de日本", max_size=80), st.integers(2, 30))
def test_wrapped_text_loses_no_word_and_fits(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width_of((Span(line),)) <= width for line in lines)


@pytest.mark.parametrize(("seconds", "text"), [(0.004, "0"), (0.02, ".02"), (1.184, "1.18"), (12.3, "12")])
def test_a_phase_takes_few_characters(seconds: float, text: str) -> None:
    assert phase_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (59.9, "59s"), (61.0, "1m"), (11_520.0, "3h12m"), (180_000.0, "2d2h")]
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_durations_keep_two_figures_that_matter() -> None:
    assert [seconds_text(s) for s in (0.004, 0.214, 14.02, 132.4)] == ["<0.01 s", "0.21 s", "14.0 s", "132 s"]


@pytest.mark.parametrize(
    ("low_s", "high_s", "text"),
    [(0.21, 0.4, "0.21 to 0.40 s"), (0.001, 0.19, "<0.01 to 0.19 s"), (0.0, 0.004, "<0.01 s"), (0.2, 0.2, "0.20 s")],
)
def test_a_range_never_reads_as_no_time_at_all(low_s: float, high_s: float, text: str) -> None:
    assert range_text(low_s, high_s) == text


def test_a_short_switchs_phases_are_told_apart_in_milliseconds() -> None:
    short = waterfall(Phases(evict=0.0012, copy=0.0207, bind=0.0009), Paper(60, UNICODE))
    assert ["".join(s.text for s in line).split()[:3] for line in short] == [
        ["evict", "1.2", "ms"],
        ["copy", "20.7", "ms"],
        ["bind", "0.9", "ms"],
    ]
    long = waterfall(Phases(read=1.93, copy=0.05, bind=0.001), Paper(60, UNICODE))
    assert ["".join(s.text for s in line).split()[1] for line in long] == ["1.93", "0.05", "<0.01"]
