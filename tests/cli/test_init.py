"""`citadel init`, and what is said of an engine that nobody has configured yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.defaults import DEFAULT_FILES, DEFAULTS_FOLDER, is_of_the_program
from engine.settings import find_config_folder, load_settings
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own configuration; the working folder is another."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "xdg" / "citadel"
    folder.mkdir(parents=True)
    return folder


async def test_both_files_are_written_where_they_are_found_from_anywhere(citadel: Citadel, user: Path) -> None:
    ran = await citadel("init")
    assert ran.status == 0
    assert ran.out.splitlines() == [f"{user / name}: written" for name in DEFAULT_FILES]
    assert "start with `citadel`" in ran.err
    assert find_config_folder(None, {"XDG_CONFIG_HOME": str(user.parent)}, user) == user
    assert load_settings(user, {}, None).models == ()


async def test_what_is_there_already_is_never_touched(citadel: Citadel, user: Path) -> None:
    (user / DEFAULT_FILES[1]).write_text("mine")
    ran = await citadel("init")
    assert ran.status == 0
    assert f"{user / DEFAULT_FILES[1]}: there already, and left as it is" in ran.out
    assert (user / DEFAULT_FILES[1]).read_text() == "mine"
    assert (user / DEFAULT_FILES[0]).read_text() == (DEFAULTS_FOLDER / DEFAULT_FILES[0]).read_text()


async def test_a_link_is_not_written_through(citadel: Citadel, user: Path, tmp_path: Path) -> None:
    (user / DEFAULT_FILES[0]).symlink_to(tmp_path / "elsewhere")
    assert (await citadel("init")).status == 0
    assert not (tmp_path / "elsewhere").exists()


async def test_another_folder_is_named_when_starting(citadel: Citadel, tmp_path: Path) -> None:
    ran = await citadel("init", "a folder")
    assert (tmp_path / "a folder" / DEFAULT_FILES[0]).is_file()
    assert f"citadel --config '{tmp_path}/a folder'" in ran.err
    assert "start with `citadel`" in (await citadel("init", "config")).err
    assert "start with `citadel --config" in (await citadel("init")).err  # ./config goes before it now


async def test_the_folder_that_is_named_for_every_command_is_the_one_that_is_written(
    citadel: Citadel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITADEL_CONFIG", "by variable")
    ran = await citadel("init")
    assert f"{tmp_path}/by variable/{DEFAULT_FILES[0]}: written" in ran.out
    assert "start with `citadel`" in ran.err
    assert f"{tmp_path}/by option/{DEFAULT_FILES[0]}: written" in (await citadel("init", "--config", "by option")).out


async def test_a_folder_that_cant_be_written_is_refused_in_words(citadel: Citadel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = await citadel("init", "file")
    assert ran.status == 1
    assert f"no configuration can be written to {tmp_path}/file: File exists" in ran.err


def test_defaults_of_another_installation_are_known_as_such() -> None:
    assert is_of_the_program(str(DEFAULTS_FOLDER))
    assert is_of_the_program("/opt/pipx/citadel-tui/lib/python3.12/site-packages/engine/defaults")
    assert not is_of_the_program("/etc/citadel")


async def test_an_engine_without_models_says_how_to_add_one(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.set_state(replace(scripted_state(), models={}))
    for command in (["models", "list"], ["status"]):
        ran = await citadel(*command)
        assert ran.status == 0
        assert "`citadel models add hub:OWNER/NAME` or path:FOLDER" in ran.out + ran.err
        assert "/etc/citadel/model_gpu_mapping.json" in ran.out + ran.err

    engine.config = str(DEFAULTS_FOLDER)
    assert "`citadel init` writes" in (await citadel("models", "list")).err
    assert "configuration: the program's own defaults; `citadel init`" in (await citadel("status")).out
