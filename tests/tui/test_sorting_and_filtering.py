"""The table's orders and filter words: by rows alone, and under the keys."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.rows import ModelRow, admits, model_rows, parse_filter
from citadel_tui.viewmodel.dashboard.table import layout_for, sort_key_at, sort_keys
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.table_order import Sorting, SortKey, sorted_rows
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


async def busy_rows() -> list[ModelRow]:
    engine = await busy_engine()
    return model_rows(Scene(START_S + 60, None, await engine.snapshot(), await engine.records(100)), UNICODE)


def names(rows: list[ModelRow]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("name", "all-MiniLM-L6-v2"),
        ("where", "phi-3-mini"),
        ("size", "phi-3-mini"),
        ("pin", "e5-small"),
        ("task", "all-MiniLM-L6-v2"),
        ("requests", "phi-3-mini"),
        ("idle", "all-MiniLM-L6-v2"),
    ],
)
async def test_a_column_puts_what_it_is_about_on_top(key: SortKey, first: str) -> None:
    assert sorted_rows(await busy_rows(), Sorting(key))[0].name == first


@pytest.mark.parametrize("key", get_args(SortKey))
async def test_every_order_keeps_every_row_and_turned_around_still_has_the_unknown_last(key: SortKey) -> None:
    rows = await busy_rows()
    rows[1] = replace(rows[1], idle_s=None, last_switch_s=None, note="", pin="")
    for sorting in (Sorting(key), Sorting(key).reversed):
        assert sorted(names(sorted_rows(rows, sorting))) == sorted(names(rows))
    if key in ("idle", "switch", "pin"):
        assert "e5-small" in names(sorted_rows(rows, Sorting(key, reverse=True)))[1:]


async def test_gpus_are_in_the_order_of_their_numbers() -> None:
    row = (await busy_rows())[0]
    rows = [replace(row, name=place, places=(place,)) for place in ("disk", "gpu10", "cpu", "gpu2", "ram")]
    assert names(sorted_rows(rows, Sorting("where"))) == ["gpu2", "gpu10", "cpu", "ram", "disk"]


async def test_equal_rows_stay_in_catalog_order_whichever_way_around() -> None:
    rows = await busy_rows()
    embedding = [row.name for row in rows if row.task == "embedding"]
    for sorting in (Sorting("task"), Sorting("task", reverse=True)):
        assert [name for name in names(sorted_rows(rows, sorting)) if name in embedding] == embedding


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["all-MiniLM-L6-v2", "e5-small", "bge-base", "phi-3-mini"]),
        ("MINI", ["all-MiniLM-L6-v2", "phi-3-mini"]),
        ("state:ready mini", ["all-MiniLM-L6-v2", "phi-3-mini"]),
        ("state:rea on:gpu0", ["phi-3-mini"]),
        ("on:gpu", ["all-MiniLM-L6-v2", "phi-3-mini"]),
        ("on:ram", ["bge-base"]),
        ("pin:", ["all-MiniLM-L6-v2", "e5-small"]),
        ("pin:cpu", ["e5-small"]),
        ("task:gen", ["phi-3-mini"]),
        ("colour:red bge", ["bge-base"]),
    ],
)
async def test_a_row_is_shown_when_it_has_all_the_words(words: str, found: list[str]) -> None:
    assert [row.name for row in await busy_rows() if admits(parse_filter(words), row)] == found


async def test_a_device_with_one_digit_is_not_one_with_two() -> None:
    row = replace((await busy_rows())[0], places=("gpu1", "gpu10"))
    assert admits(parse_filter("on:gpu1"), row)
    assert not admits(parse_filter("on:gpu1"), replace(row, places=("gpu10",)))


def test_every_column_of_a_layout_is_found_under_its_title() -> None:
    for width in (60, 80, 120, 200):
        layout = layout_for(width, 18)
        assert tuple(dict.fromkeys(sort_key_at(layout, x) for x in range(width))) == sort_keys(layout)[1:]


async def test_s_goes_through_the_columns_on_the_screen_and_o_turns_the_order_around() -> None:
    async with open_console(await busy_engine()) as console:
        for key in ("name", "where", "state", "size"):
            await console.press("s")
            await console.sees(f"by {key}")
        assert console.rows[2].startswith(" ▐phi-3-mini")
        await console.press("o")
        await console.sees("by size, reversed")
        assert "all-MiniLM-L6-v2" in console.rows[2]
        for _ in ("pin", "switch", "leases", "requests", "idle", "catalog"):
            await console.press("s")
        assert "by " not in console.rows[0]


async def test_a_filter_stays_when_the_models_change_and_an_unknown_word_is_named() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.press("slash", *"state:ready on:gpu0", "enter")
        await console.sees('1 of 4  with "state:ready on:gpu0"')
        engine.set_state(replace(engine.state, residents=engine.state.residents[:1]))
        await console.sees('0 of 4  with "state:ready on:gpu0"')
        await console.press("escape")
        await console.until(lambda: len(console.rows) == 6)
        await console.press("slash", *"colour:red")
        await console.sees("colour: is none of state:, on:, pin:")
