"""Memory bars: the bytes are the device's, the cells are the screen's, and both add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.bars import bar
from citadel_tui.viewmodel.dashboard.device_rows import device_rows
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs
from citadel_tui.viewmodel.graph import share_cells
from citadel_tui.viewmodel.memory_map import Occupancy, occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import width_of
from citadel_tui.words.figures import clock_text
from engine.api import Snapshot
from engine.core.devices import Reading
from engine.core.models import Footprint
from engine.core.sizes import MIB
from engine.core.state import Resident, Stage, State
from tests.scripted_plans import START_S, scripted_budgets, scripted_state

STAGES: tuple[Stage, ...] = ("pending", "loading", "ready", "draining", "leaving")

residents = st.lists(
    st.builds(
        lambda name, weights, workspace, stage: Resident(name, "gpu0", stage, Footprint(weights, workspace), START_S),
        st.sampled_from(("a", "bge-base", "all-MiniLM-L6-v2", "x" * 64)),
        st.integers(1, 200 * MIB),
        st.integers(0, 50 * MIB),
        st.sampled_from(STAGES),
    ),
    max_size=6,
)
sizes = st.integers(0, 300 * MIB)


def snapshot_with(found: list[Resident], used: int, external: int, leaked: int) -> Snapshot:
    state = scripted_state()
    reading = Reading("ok", used_bytes=used + external, external_bytes=external, at_s=START_S)
    gpu0 = replace(state.devices["gpu0"], reading=reading, leaked_bytes=leaked)
    state = replace(state, devices={**state.devices, "gpu0": gpu0}, residents=tuple(found))
    return Snapshot(1, START_S, state, budgets=scripted_budgets(state))


def total(parts: Occupancy) -> int:
    return sum(s.size_bytes for s in (*parts.inside, *parts.outside))


def in_use(parts: Occupancy) -> int:
    return sum(s.size_bytes for s in (*parts.inside, *parts.outside) if s.kind not in ("room", "spare"))


@given(residents, sizes, sizes, st.integers(0, 20 * MIB))
def test_the_parts_of_a_bar_are_the_whole_device_or_all_that_was_promised_of_it(
    found: list[Resident], used: int, external: int, leaked: int
) -> None:
    parts = occupancy(snapshot_with(found, used, external, leaked), "gpu0")
    assert total(parts) == max(parts.total_bytes, in_use(parts))
    assert all(s.size_bytes > 0 for s in (*parts.inside, *parts.outside))


@given(st.integers(0, 100 * MIB), sizes)
def test_what_is_in_use_in_a_bar_is_what_the_device_reports(context: int, external: int) -> None:
    resident = Resident("bge-base", "gpu0", "ready", Footprint(100 * MIB, 20 * MIB), START_S)
    parts = occupancy(snapshot_with([resident], 120 * MIB + context, external, 0), "gpu0")
    assert in_use(parts) == 120 * MIB + context + external


def test_a_load_that_waits_for_room_is_drawn_as_far_as_there_is_some_and_charged_to_nobody() -> None:
    going = Resident("bge-base", "gpu0", "leaving", Footprint(400 * MIB, 0), START_S)
    waiting = Resident("phi-3-mini", "gpu0", "pending", Footprint(400 * MIB, 0), START_S)
    parts = occupancy(snapshot_with([going, waiting], 400 * MIB, 0, 0), "gpu0")
    assert parts.charged_bytes == 400 * MIB
    drawn = [(s.kind, s.size_bytes) for s in parts.inside]
    assert drawn == [("leaving", 400 * MIB), ("ghost", parts.budget_bytes - 400 * MIB)]


@given(residents, sizes, sizes, st.integers(0, 20 * MIB), st.integers(4, 200), st.sampled_from((UNICODE, ASCII)))
def test_a_bar_takes_exactly_the_cells_that_it_is_given(
    found: list[Resident], used: int, external: int, leaked: int, width: int, glyphs: Glyphs
) -> None:
    parts = occupancy(snapshot_with(found, used, external, leaked), "gpu0")
    assert width_of(bar(parts, Paper(width, glyphs))) == width


@given(residents, sizes, st.integers(60, 300), st.sampled_from((UNICODE, ASCII)))
def test_every_row_of_bars_is_as_wide_as_the_screen(
    found: list[Resident], external: int, width: int, glyphs: Glyphs
) -> None:
    rows = device_rows(Scene(START_S, snapshot=snapshot_with(found, 0, external, 0)), Paper(width, glyphs), 20).lines
    assert {width_of(row) for row in rows} == {width}


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=12), st.integers(0, 200))
def test_shared_cells_add_up_and_nothing_that_exists_vanishes_while_there_are_cells(
    wants: list[int], cells: int
) -> None:
    given_cells = share_cells(wants, cells)
    there = sum(1 for size in wants if size)
    assert sum(given_cells) == (cells if there else 0)
    assert sum(1 for size, got in zip(wants, given_cells, strict=True) if size and got) == min(there, cells)
    assert all(not got for size, got in zip(wants, given_cells, strict=True) if not size)


def lost_gpu1() -> State:
    state = scripted_state()
    reading = Reading("lost", "the driver says that the card has fallen off the bus", at_s=START_S - 12)
    return replace(state, devices={**state.devices, "gpu1": replace(state.devices["gpu1"], reading=reading)})


def test_a_lost_device_says_so_in_words_and_since_when_instead_of_a_bar() -> None:
    state = lost_gpu1()
    rows = device_rows(
        Scene(START_S, snapshot=Snapshot(1, START_S, state, budgets=scripted_budgets(state))), Paper(160, UNICODE), 20
    ).lines
    text, since = "".join(span.text for span in rows[1]), f"lost since {clock_text(START_S - 12)}"
    assert since in text
    assert "–/– MiB" in text
    assert not {UNICODE.room, "0"} & set(text.replace("gpu1", "").replace(since, ""))
    assert f"{since}: the driver says that the card has fallen off the bus" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_an_ascii_terminal_gets_ascii_bars(width: int) -> None:
    state = scripted_state()
    rows = device_rows(
        Scene(START_S, snapshot=Snapshot(1, START_S, state, budgets=scripted_budgets(state))), Paper(width, ASCII), 20
    ).lines
    assert all(span.text.isascii() for row in rows for span in row)
