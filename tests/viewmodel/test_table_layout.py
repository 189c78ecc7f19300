"""Which columns a table has: by their worth, and none of the lesser ones at the cost of a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from citadel_tui.viewmodel.dashboard.table import TableLayout, layout_for
from citadel_tui.viewmodel.spans import cut_middle

EVERY_SCREEN = ["WHERE", "STATE", "MiB", "PIN", "SWITCH"]


def titles(layout: TableLayout) -> list[str]:
    return [column.title for column in layout.columns]


@pytest.mark.parametrize(("width", "found"), [
    (60, EVERY_SCREEN),
    (80, [*EVERY_SCREEN, "LEASES", "REQ/MIN", "IDLE"]),
    (100, [*EVERY_SCREEN, "LEASES", "WAIT", "REQ/MIN", "RATE", "FIRST", "IDLE"]),
    (120, ["WHERE", "STATE", "MiB", "PIN", "TASK", "DTYPE", "SWITCH", "LEASES", "WAIT", "REQ/MIN", "RATE", "FIRST", "IDLE"]),
])  # fmt: skip
def test_columns_come_by_their_worth(width: int, found: list[str]) -> None:
    assert titles(layout_for(width, 18)) == found


def test_names_are_whole_before_a_lesser_column_comes() -> None:
    assert titles(layout_for(120, 40)) == [
        *EVERY_SCREEN,
        *("LEASES", "WAIT", "REQ/MIN", "RATE", "FIRST", "IDLE"),
    ]
    assert layout_for(120, 40).names >= 40


def test_names_take_the_cells_that_are_free_before_what_may_be_long() -> None:
    assert layout_for(237, 90).names == 90
    wide = {column.title: column.width for column in layout_for(237, 18).columns}
    assert (wide["SOURCE"], wide["NOTE"]) == (32, 60)


@given(st.integers(60, 300), st.integers(0, 120))
def test_a_row_is_as_wide_as_the_screen(width: int, longest: int) -> None:
    layout = layout_for(width, longest)
    assert 2 + layout.names + layout.gap + sum(column.width + 1 for column in layout.columns) == width


@given(st.text(max_size=40), st.integers(0, 50), st.sampled_from(("…", "..")))
def test_a_text_is_cut_in_the_middle_to_its_place_and_keeps_both_ends(text: str, width: int, ellipsis: str) -> None:
    short = cut_middle(text, width, ellipsis)
    assert cell_len(short) <= width
    if cell_len(text) <= width:
        assert short == text


def test_both_ends_of_a_name_are_kept() -> None:
    assert cut_middle("multilingual-e5-large-v2", 13) == "multil…rge-v2"
    assert cut_middle("模型-大-v2-模型", 9) == "模型…模型"
