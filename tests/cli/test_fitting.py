"""Tables that fit a terminal: which columns are left out, which names are cut, what is counted instead of being shown."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from citadel_tui.cli.fitting import Block, Size, TableColumn, joined, table_block, text_block

COLUMNS = (
    TableColumn("MODEL", is_name=True),
    TableColumn("WHERE"),
    TableColumn("MiB", 2, right=True),
    TableColumn("REQUESTS", 1, right=True),
)
ROWS = (["all-MiniLM-L6-v2-finetuned-on-our-own", "gpu0", "98", "12"], ["bge", "disk", "438", "0"])


def table(width: int | None) -> list[str]:
    return list(table_block(COLUMNS, ROWS, Size(width), "models").lines)


def test_without_an_end_to_lines_everything_is_there() -> None:
    assert table(None) == [
        "MODEL                                  WHERE  MiB  REQUESTS",
        "all-MiniLM-L6-v2-finetuned-on-our-own  gpu0    98        12",
        "bge                                    disk   438         0",
    ]
    assert table(59) == table(None)


def test_of_several_names_those_with_room_stay_whole_and_the_others_are_counted() -> None:
    columns = (TableColumn("DEVICE"), TableColumn("RESIDENTS", is_name=True))
    names = "all-MiniLM-L6-v2, e5-small, bge-base, phi-3-mini"
    shown = [table_block(columns, (["gpu0", names],), Size(width), "devices").lines[1] for width in (60, 44, 30, 24)]
    assert shown == [
        f"gpu0    {names}",
        "gpu0    all-MiniLM-L6-v2, e5-small +2",
        "gpu0    all-MiniLM-L6-v2 +3",
        "gpu0    all-Mi…-L6-v2 +3",
    ]


def test_a_name_gives_way_first_and_keeps_its_end() -> None:
    assert table(50)[:2] == [
        "MODEL                         WHERE  MiB  REQUESTS",
        "all-MiniLM-L6-…ed-on-our-own  gpu0    98        12",
    ]


def test_then_the_column_of_least_worth_is_left_out_and_named() -> None:
    head, first, _, *note = table(40)
    assert head.split() == ["MODEL", "WHERE", "MiB"]
    assert first == "all-MiniLM-L6-…ed-on-our-own  gpu0    98"
    assert " ".join(note) == "no room for REQUESTS: a wider terminal, a file and --json have them"
    assert table(20)[0].split() == ["MODEL", "WHERE"]


names = st.text(string.ascii_letters + "漢é-", min_size=1, max_size=60)


@given(st.lists(st.tuples(names, st.sampled_from(["gpu0", "disk"]), names, names), max_size=5), st.integers(17, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    part = table_block(COLUMNS, rows, Size(width), "models")
    assert all(cell_len(line) <= width for line in part.lines)


def screen(height: int) -> list[str]:
    models = table_block(COLUMNS, ROWS * 4, Size(80, height), "models")
    size = Size(80, height)
    return joined(
        [text_block("engine 1 on here\nRAM tier: 0 MiB", size), models, text_block("a job", size)], size
    ).split("\n")


def test_rows_that_a_screen_has_no_room_for_are_counted_by_what_they_are() -> None:
    shown = screen(8)
    assert len(shown) == 7  # the cursor has the last row
    assert shown[-1] == "… not shown: 6 models, 1 lines"
    assert [line.split()[0] for line in shown[4:6]] == ["all-MiniLM-L6-v2-finetuned-on-our-own", "bge"]


def test_where_all_fits_nothing_is_counted() -> None:
    assert screen(15)[-1] == "a job"
    assert "not shown" in screen(14)[-1]


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(2, 40))
def test_no_screen_gets_more_lines_than_it_has_rows(parts: list[int], height: int) -> None:
    told = [Block(tuple(f"line {n}" for n in range(lines))) for lines in parts]
    assert len(joined(told, Size(80, height)).split("\n")) <= max(height - 1, 2)
