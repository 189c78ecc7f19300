"""`console.yaml`: what is remembered, the keys that people choose, and files with mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from citadel_tui.actions import ACTIONS, key_id, key_text
from citadel_tui.app import CitadelApp
from citadel_tui.settings.file import load_settings_file, save_settings_file
from citadel_tui.settings.settings import ConsoleSettings
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.table_order import Sorting
from engine.paths import console_file
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import NOON_S, Console, Line

LEFT = ConsoleSettings(Sorting("size", reverse=True), "state:ready", "light", "on")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "citadel" / "console.yaml"


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_everything_is_as_at_first(file: Path) -> None:
    assert load_settings_file(file).settings == ConsoleSettings()
    assert load_settings_file(file).complaint == ""


def test_what_is_saved_is_what_is_loaded(file: Path) -> None:
    save_settings_file(file, LEFT)
    assert load_settings_file(file).settings == LEFT
    save_settings_file(file, ConsoleSettings())
    assert load_settings_file(file).settings == ConsoleSettings()
    assert [path.name for path in file.parent.iterdir()] == ["console.yaml"]


def test_what_people_wrote_stays_when_the_console_writes(file: Path) -> None:
    written(file, "# mine\nkeys:\n  evict: x  # not e\nsort: name\n")
    save_settings_file(file, LEFT)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# mine\nkeys:\n  evict: x  # not e\nsort: size\n")
    assert load_settings_file(file).settings == replace(LEFT, keys={"evict": "x"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sort: colour", "console.yaml: sort: 'colour' is given; allowed: one of catalog, name, where"),
        ("graphs: yes", "graphs: true is given; allowed: one of auto, on, off"),
        ("reverse: 1", "reverse: 1 is given; allowed: true or false"),
        ("filter: [a]", "filter: a list is given; allowed: words in quotes"),
        ("sorting: size", "sorting: there is no such key; allowed: sort, reverse, filter, colours, graphs, keys"),
        ("sort: size\nsort: name", "sort: the key is given more than once"),
        ("- sort", "a list is given; allowed: a table with sort, reverse"),
        ("sort: [", "not YAML in line 1"),
        ("keys: x", "keys: 'x' is given; allowed: lines such as `evict: x`"),
        ("keys: {evikt: x}", "keys.evikt: there is no such key; allowed: load, evict"),
        ("keys: {evikt: x}", "did you mean evict?"),
        ("keys: {evict: hyper+x}", "keys.evict: 'hyper+x' is given; allowed: a letter, a sign"),
        ("keys: {evict: ctrl+m}", "keys.evict: 'ctrl+m' is given"),
        ("keys: {evict: j}", "keys.evict: j is taken"),
        ("keys: {evict: '1'}", "keys.evict: '1' is given"),
        ("keys: {evict: 1}", "keys.evict: 1 is given; allowed: a letter, a sign"),
        ("keys: {evict: x, evict: z}", "keys.evict: the key is given more than once"),
        ("keys: {evict: l}", "keys: l would stand for load and evict; give one of them another key"),
        ("keys: {evict: ';', pin: ';'}", "keys: ; would stand for evict and pin"),
        ("keys: {back: x}", "keys.back: its key is fixed"),
    ],
)
def test_a_file_with_a_mistake_is_named_ignored_and_left_as_it_is(file: Path, text: str, complaint: str) -> None:
    loaded = load_settings_file(written(file, text))
    assert loaded.settings == ConsoleSettings()
    assert loaded.complaint.startswith(f"{file} is ignored, and stays as it is: ")
    assert complaint in loaded.complaint


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    complaint = load_settings_file(written(file, "sort: x\ncolours: red\nkeys: {evikt: x, pin: home}")).complaint
    assert all(key in complaint for key in ("sort:", "colours:", "keys.evikt:", "keys.pin:"))


def test_two_actions_may_change_keys_with_each_other(file: Path) -> None:
    assert load_settings_file(written(file, "keys: {evict: l, load: e}")).settings.keys == {"evict": "l", "load": "e"}


def test_every_key_of_the_registry_has_a_name_that_the_file_takes() -> None:
    for action in ACTIONS:
        if action.id != "device":
            assert key_id(action.key_text) == action.key
            assert key_text(action.key) == action.key_text


def test_the_file_lies_with_the_users_settings_or_in_citadel_home() -> None:
    assert console_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/citadel/console.yaml")
    assert console_file({"HOME": "/h"}) == Path("/h/.config/citadel/console.yaml")
    assert console_file({"CITADEL_HOME": "/x", "XDG_CONFIG_HOME": "/c"}) == Path("/x/console.yaml")


def app_with(settings: ConsoleSettings, engine: ScriptedEngine) -> CitadelApp:
    look = Look(UNICODE, "citadel")
    return CitadelApp(
        Line(engine).connect, look, read_only=False, settings=settings, now=lambda: NOON_S, monotonic=lambda: NOON_S
    )


async def test_chosen_keys_do_what_they_say_and_are_shown_everywhere() -> None:
    engine = await busy_engine()
    app = app_with(ConsoleSettings(keys={"evict": "x", "load": "e", "palette": "semicolon"}), engine)
    async with app.run_test(size=(120, 36)) as pilot:
        console = Console(pilot, app)
        await console.sees("x Evict")
        await console.select("phi-3-mini")
        await console.press("x")
        await console.sees("evict phi-3-mini: done")
        await console.press("escape", "e")
        await console.sees("Load phi-3-mini: on which device?")
        await console.press("escape", "question_mark")
        await console.sees("x      Evict")
        await console.press("escape", "ctrl+p")
        await console.sees("Verb and model")
        await console.press("escape", "semicolon")
        await console.sees("Verb and model")
        await console.press("escape", "colon", "l")
        assert len(app.screen_stack) == 1


async def test_the_console_begins_as_it_was_left() -> None:
    engine = await busy_engine()
    app = app_with(replace(LEFT, colours="auto"), engine)
    async with app.run_test(size=(80, 24)) as pilot:
        console = Console(pilot, app)
        await console.sees('3 of 4  with "state:ready"')
        await console.sees("by size, reversed")
        await console.sees("OVER TIME")


async def test_what_the_operator_changed_is_what_is_kept() -> None:
    app = app_with(ConsoleSettings(keys={"evict": "x"}), await busy_engine())
    async with app.run_test(size=(80, 24)) as pilot:
        console = Console(pilot, app)
        await console.sees("live")
        assert app.settings == ConsoleSettings(keys={"evict": "x"})
        await console.press("s", "o", "g", "v", "slash", *"bge", "enter")
        await console.sees("1 of 4")
    assert app.settings == ConsoleSettings(Sorting("name", reverse=True), "bge", "light", "on", {"evict": "x"})
