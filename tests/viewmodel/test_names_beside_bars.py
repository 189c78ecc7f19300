"""Models whose part of a bar is too small for their name are named beside it: none that is on a device goes unseen."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from citadel_tui.viewmodel.dashboard.bars import bar, names_text, unnamed
from citadel_tui.viewmodel.dashboard.device_rows import device_rows
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.memory_map import occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from engine.api import Snapshot
from engine.core.models import Footprint
from engine.core.sizes import GIB, MIB
from engine.core.state import Resident, State
from tests.scripted_plans import START_S, scripted_budgets, scripted_state

SIXTY = Paper(60, UNICODE)


def holding(**sizes_mib: int) -> Snapshot:
    """A card of 6 GiB with these models on it."""
    state = scripted_state()
    gpu0 = state.devices["gpu0"]
    residents = tuple(
        Resident(name.replace("_", "-"), "gpu0", "ready", Footprint(size * MIB, 0), START_S)
        for name, size in sizes_mib.items()
    )
    devices = {"gpu0": replace(gpu0, spec=replace(gpu0.spec, total_bytes=6 * GIB, fraction=0.9))}
    found = State(devices, state.models, state.ram, residents)
    return Snapshot(1, START_S, found, budgets=scripted_budgets(found))


def first_row(snapshot: Snapshot, width: int = 80) -> str:
    lines = device_rows(Scene(START_S, snapshot=snapshot), Paper(width, UNICODE), 20).lines
    return "".join(span.text for span in lines[0])


def test_a_lone_small_model_is_seen_in_the_bar_and_named_beside_it() -> None:
    text = first_row(holding(e5=125))
    assert text.startswith(" gpu0 ▐▓···")
    assert "e5 125 MiB" in text


def test_a_name_that_the_bar_has_room_for_stands_there_alone() -> None:
    assert unnamed(occupancy(holding(phi_3_mini=3000), "gpu0"), SIXTY) == ()
    assert first_row(holding(phi_3_mini=3000)).count("phi-3-mini") == 1


def test_the_largest_comes_first_and_those_beyond_the_room_are_counted() -> None:
    small = unnamed(occupancy(holding(a_first=40, b_second=125, c_third=80), "gpu0"), SIXTY)
    assert names_text(small, Paper(60, UNICODE)) == "b-second 125, c-third 80, a-first 40 MiB"
    assert names_text(small, Paper(30, UNICODE)) == "b-second 125 MiB and 2 more"
    assert names_text(small, Paper(15, UNICODE)) == "b-second 125 +2"
    assert names_text(small, Paper(13, UNICODE)) == "b-s…nd 125 +2"
    assert names_text(small, Paper(8, UNICODE)) == "+3"


def test_a_long_name_is_cut_in_the_middle_wherever_it_stands() -> None:
    small = unnamed(occupancy(holding(multilingual_e5_large_v2=90), "gpu0"), SIXTY)
    assert names_text(small, Paper(20, UNICODE)) == "multilin…large-v2 90"
    drawn = bar(occupancy(holding(multilingual_e5_large_v2=1500), "gpu0"), SIXTY)
    assert drawn[1].text == "multil…rge-v2"


sizes = st.lists(st.integers(1, 3000), min_size=1, max_size=12)


@given(sizes, st.integers(0, 80))
def test_however_little_room_there_is_each_of_them_is_named_or_counted(found: list[int], width: int) -> None:
    snapshot = holding(**{f"model_{chr(97 + at)}": size for at, size in enumerate(found)})
    small = unnamed(occupancy(snapshot, "gpu0"), Paper(20, UNICODE))
    text = names_text(small, Paper(width, UNICODE))
    assert cell_len(text) <= width
    if small and width >= 3:
        counted = re.search(r"(?:and |\+)(\d+)", text)
        named = re.findall(r"[a-z…-]+ \d+", text.partition(" and ")[0])
        assert len(named) + (int(counted[1]) if counted else 0) == len(small)


@given(sizes, st.integers(60, 240))
def test_what_a_bar_does_not_name_has_room_beside_it(found: list[int], width: int) -> None:
    snapshot = holding(**{f"model_{chr(97 + at)}": size for at, size in enumerate(found)})
    parts = occupancy(snapshot, "gpu0")
    text = first_row(snapshot, width)
    drawn = (("".join(s.text for s in bar(parts, Paper(cells, UNICODE))), cells) for cells in range(width, 3, -1))
    cells = next(cells for whole, cells in drawn if whole in text)
    small = unnamed(parts, Paper(cells, UNICODE))
    assert not small or re.search(r"model-\w \d+|m…\w+ \d+|\+\d+", text.partition(UNICODE.budget)[2])
