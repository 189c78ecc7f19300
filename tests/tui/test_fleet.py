"""The console over a fleet: boxes in the devices' table, on three boxes and on a hundred, and what keys mean there."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.screens.picker import DevicePicker, Picker
from citadel_tui.viewmodel.dashboard import row_layout
from citadel_tui.viewmodel.dashboard.bars import bar
from citadel_tui.viewmodel.dashboard.fleet_rows import Fleet, fleet_rows
from citadel_tui.viewmodel.dashboard.row_layout import Painted
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.memory_map import Occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.place_names import place_text, places_text
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, width_of
from engine.api import Snapshot
from engine.core.boxes import BoxView
from engine.core.commands import Move, SetPin
from engine.core.devices import Reading
from engine.core.sizes import MIB
from engine.core.state import DeviceState, State
from tests.fleet_snapshots import (
    DRAINED,
    GONE,
    NEVER,
    OTHER,
    READY,
    SILENT,
    ScriptedFleet,
    boxes_of,
    busy_places,
    fleet_state,
)
from tests.scripted_plans import START_S, measured, scripted_budgets
from tests.tui.consoles import Console, open_console

HUNDRED = fleet_state(100, 4, 40, busy_places(100, 4, 40))


def snapshot(state: State | None = None, **other: BoxView) -> Snapshot:
    state = state or fleet_state()
    return Snapshot(1, START_S, state, budgets=scripted_budgets(state), boxes=boxes_of(state, **other))


def rows(shown: Snapshot, most: int, width: int = 100, first: int | None = None) -> list[str]:
    lines = fleet_rows(Scene(START_S, snapshot=shown), Fleet(shown), Paper(width, UNICODE), most, first).lines
    assert all(width_of(line) == width for line in lines)
    return ["".join(span.text for span in line) for line in lines]


def labels(found: list[str]) -> list[str]:
    """Of each row the cells before its bar."""
    return [row.partition("▐")[0].strip() for row in found]


# ── who has a row ─────────────────────────────────────────────────────────────────────────────────


def test_where_all_fit_the_rows_are_those_of_the_devices_with_each_boxs_name_once() -> None:
    assert labels(rows(snapshot(), 12, 80)) == [
        *("box1 gpu0", "gpu1", "cpu", "box2 gpu0", "gpu1", "cpu", "box3 gpu0", "gpu1", "cpu", "ram"),
    ]


def test_boxes_without_room_for_their_devices_are_a_row_each_and_as_many_as_fit_show_theirs() -> None:
    assert [label.split()[0] for label in labels(rows(snapshot(), 4))] == ["box1", "box2", "box3", "ram"]
    assert labels(rows(snapshot(), 6, 80))[:5] == ["box1 gpu0", "gpu1", "cpu", "box2      2 GPUs", "box3      2 GPUs"]


def test_a_box_in_which_a_device_is_in_trouble_shows_its_devices_first_or_says_so_itself() -> None:
    state = fleet_state()
    ill = replace(state.devices["box3/gpu1"], reading=Reading("lost", "gone", at_s=START_S))
    shown = snapshot(replace(state, devices={**state.devices, "box3/gpu1": ill}))
    assert labels(rows(shown, 6, 80))[:3] == ["box1      2 GPUs", "box2      2 GPUs", "box3 gpu0"]
    assert "✗ 1 not ok" in rows(shown, 4, 80)[2]


def test_a_boxs_bytes_are_those_of_its_gpus_and_never_of_its_cpu() -> None:
    shown = snapshot()
    assert "536/1024 MiB" in rows(shown, 4)[1]
    assert "0/1024 MiB" in rows(shown, 4)[2], "e5-small is on its CPU"


def test_boxes_that_have_no_room_are_a_row_of_words_and_those_that_are_not_ready_keep_theirs() -> None:
    found = rows(snapshot(HUNDRED, box60=GONE, box7=SILENT), 8)
    assert [label.split()[0] for label in labels(found)][:6] == ["box1", "box2", "box3", "box4", "box7", "box60"]
    assert found[6].startswith(" +94    d shows more · box5, box6, box8")


def test_more_boxes_that_are_not_ready_than_rows_are_counted() -> None:
    gone = {f"box{number}": GONE for number in range(1, 31)}
    assert "✗ 26 not ready" in rows(snapshot(HUNDRED, **gone), 6)[4]


def test_windows_show_each_device_once_and_the_last_is_as_full_as_the_others() -> None:
    shown = snapshot(HUNDRED)
    fleet, first, seen = Fleet(shown), 0, list[str]()
    while first is not None:
        window = fleet_rows(Scene(START_S, snapshot=shown), fleet, Paper(80, UNICODE), 20, first)
        seen += [device for device in dict.fromkeys(window.ids) if "/" in device]
        first = fleet.next_window(20, first)  # type: ignore[assignment]
    assert len(seen) == 28 * 18
    assert set(seen) == set(HUNDRED.devices)


@pytest.mark.parametrize("boxes", [1, 3, 20])
@pytest.mark.parametrize("most", [3, 4, 7, 40])
@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize("first", [None, 0, 5])
def test_there_are_never_more_rows_than_there_is_room_for(boxes: int, most: int, width: int, first: int | None) -> None:
    shown = snapshot(fleet_state(boxes), box1=SILENT, box90=NEVER)
    assert len(rows(shown, most, width, first)) <= most


# ── how a box stands ──────────────────────────────────────────────────────────────────────────────


def test_a_box_that_is_not_heard_has_a_mark_and_its_age_on_each_row_and_why_below() -> None:
    found = rows(snapshot(box2=SILENT), 12, 80)
    assert all("✗ silent 12s" in row for row in found[3:6])
    assert "✗ silent since" in found[6]
    assert "no sign of life" in found[6]


def test_a_box_that_is_drained_says_so_and_is_not_greyed() -> None:
    shown = snapshot(box3=DRAINED)
    assert all("drained" in row for row in rows(shown, 12, 80)[6:9])
    lines = fleet_rows(Scene(START_S, snapshot=shown), Fleet(shown), Paper(80, UNICODE), 12).lines
    assert any(span.role not in ("dim", "strong") for span in lines[6])


def test_a_box_that_nothing_is_known_of_has_words_in_place_of_a_bar() -> None:
    found = rows(snapshot(box4=OTHER, box5=NEVER), 14, 100)
    assert "✗ of another version (0.0.9): its engine speaks protocol 6" in found[9]
    assert "✗ unreachable, never heard yet: its name is not known" in found[10]


# ── what it costs ─────────────────────────────────────────────────────────────────────────────────


def test_only_rows_of_boxes_that_changed_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[Occupancy]()

    def counted(parts: Occupancy, paper: Paper) -> Line:
        drawn.append(parts)
        return bar(parts, paper)

    monkeypatch.setattr(row_layout, "bar", counted)
    painted: Painted = {}

    def draw(state: State) -> int:
        drawn.clear()
        shown = snapshot(state)
        fleet_rows(Scene(START_S, snapshot=shown), Fleet(shown), Paper(160, UNICODE), 25, None, painted)
        return len(drawn)

    shared = measured(replace(HUNDRED, devices={name: others(known, 60) for name, known in HUNDRED.devices.items()}))
    assert draw(shared) == 24, "23 boxes and the RAM tier"
    assert draw(shared) == 0
    one = measured(replace(shared, devices={**shared.devices, "box3/gpu1": others(shared.devices["box3/gpu1"], 61)}))
    assert draw(one) == 1
    hidden = measured(replace(one, devices={**one.devices, "box99/gpu1": others(one.devices["box99/gpu1"], 62)}))
    assert draw(hidden) == 0


def others(known: DeviceState, size_mib: int) -> DeviceState:
    """With so much held by other programs."""
    return replace(known, reading=replace(known.reading, external_bytes=size_mib * MIB))


# ── names in few cells ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("box2/gpu0", 9, "box2/gpu0"),
        ("rack3-box12/gpu0", 12, "rac…12/gpu0 ".strip()),
        ("rack3-box12/gpu0", 5, "gpu0"),
        ("gpu0", 3, "gp…"),
    ],
)
def test_of_a_device_its_boxs_name_is_shortened(text: str, width: int, short: str) -> None:
    found = place_text(text, width)
    assert len(found) <= width
    assert found.endswith(short[-4:])


def test_of_copies_the_first_is_told_and_of_a_move_both_ends() -> None:
    assert places_text("box1/gpu0 box2/gpu1 box3/gpu1", 12) == "box1/gpu0 +2"
    assert places_text("rack1-a/gpu0→rack2-b/gpu1", 19) == "ra…a/gpu0→ra…b/gpu1"
    assert places_text("gpu0 gpu1 gpu2", 9) == "gpu0 +2"
    assert places_text("cpu gpu0 gpu1 gpu2", 14) == "cpu gpu0 +2"


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────


async def test_the_header_counts_boxes_and_says_which_do_not_answer() -> None:
    async with open_console(ScriptedFleet(box2=SILENT)) as console:
        await console.sees("fleet of 3 boxes, 1 silent")
        assert "! 1 alert" in console.text
        fleet = console.app.link.engine
        assert isinstance(fleet, ScriptedFleet)
        fleet.set_boxes(box2=READY)
        await console.until(lambda: "alert" not in console.text and "fleet of 3 boxes " in console.text)


async def test_models_are_found_by_the_box_that_they_are_on() -> None:
    async with open_console(ScriptedFleet()) as console:
        for words, names in (
            ("on:box2", ["all-MiniLM-L6-v2", "bge-base"]),
            ("on:box2/gpu0", ["bge-base"]),
            ("on:gpu0", ["all-MiniLM-L6-v2", "bge-base"]),
            ("on:cpu", ["e5-small"]),
            ("on:disk", ["phi-3-mini"]),
        ):
            await console.press("slash", *({":": "colon", "/": "slash"}.get(key, key) for key in words))
            await console.until(lambda n=names: named(console) == n)  # type: ignore[misc]
            await console.press("escape")
            await console.until(lambda: len(named(console)) == 4)


def named(console: Console) -> list[str]:
    return [row[2:].split()[0] for row in console.rows[2:] if row.strip()]


async def test_a_move_asks_which_box_and_offers_none_that_takes_nothing() -> None:
    engine = ScriptedFleet(box2=SILENT, box3=DRAINED)
    async with open_console(engine) as console:
        await console.select("e5-small")
        await console.press("m")
        await console.until(lambda: isinstance(console.app.screen, Picker))
        assert "box1/gpu0" in console.text
        assert "box2/" not in console.text.split("on which device?")[1]
        await console.press("enter")
        await console.sees("loads  e5-small on box1/gpu0 ")
        await console.press("y")
        await console.until(lambda: engine.submissions)
        assert engine.submissions[-1].command == Move("e5-small", "box1/gpu0")


async def test_the_cpu_is_that_of_the_box_where_the_model_is_else_it_is_asked_which() -> None:
    engine = ScriptedFleet()
    async with open_console(engine, size=(120, 40)) as console:
        await console.select("phi-3-mini")
        await console.press("c")
        await console.sees("which way?")
        assert "run on box3/cpu" in console.text
        await console.press("escape")
        await console.select("bge-base")
        await console.press("c", "y")
        await console.until(lambda: engine.submissions)
        assert engine.submissions[-1].command == SetPin("bge-base", "box2/cpu")


async def test_a_digit_asks_of_which_box_and_the_page_is_titled_with_it() -> None:
    async with open_console(ScriptedFleet(box2=GONE), size=(120, 40)) as console:
        await console.press("1")
        await console.until(lambda: isinstance(console.app.screen, DevicePicker))
        await console.press("down", "enter")
        await console.sees("box2/gpu1")
        await console.sees("unreachable since")


async def test_what_is_one_boxs_own_is_refused_in_words() -> None:
    async with open_console(ScriptedFleet(), size=(120, 40)) as console:
        await console.press("b")
        await console.sees("Bench: this is done on one box, in its own console")
        await console.press("colon", *"catalog")
        await console.until(lambda: "reload the catalog" not in console.text)


async def test_a_key_unfolds_a_hundred_boxes_and_folds_them_again() -> None:
    async with open_console(ScriptedFleet(HUNDRED, box60=GONE)) as console:
        await console.sees("box60")
        await console.settles()
        folded = console.text
        await console.press("d")
        await console.sees("d shows the next")
        assert " gpu3 " in console.text
        await console.press("escape")
        await console.until(lambda: console.text == folded)


async def test_a_line_cut_by_the_fleet_is_one_alert_on_the_page_of_alerts() -> None:
    async with open_console(ScriptedFleet(HUNDRED, box60=GONE)) as console:
        await console.press("exclamation_mark")
        await console.sees("box60 is unreachable: no route to host")
        assert console.text.count("unreachable") == 1


async def test_copied_commands_are_the_fleets() -> None:
    async with open_console(ScriptedFleet(), program=("citadel", "fleet")) as console:
        await console.select("e5-small")
        await console.press("Y")
        await console.sees("copied: citadel fleet load e5-small --on box3/cpu")
