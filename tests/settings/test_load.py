"""Which folder the configuration is read from, and which `.env` goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.defaults import DEFAULTS_FOLDER
from engine.settings import SettingsError, find_config_folder, find_dotenv, load_settings
from engine.settings.load import ALLOCATION_FILE
from tests.settings.config_files import config_folder


def folder_in(base: Path, *names: str) -> Path:
    folder = base.joinpath(*names)
    folder.mkdir(parents=True)
    return config_folder(folder)


def test_the_argument_goes_first_then_the_variable_then_the_working_folder_then_the_user(tmp_path: Path) -> None:
    named, variable = folder_in(tmp_path, "named"), folder_in(tmp_path, "variable")
    local, user = folder_in(tmp_path, "work", "config"), folder_in(tmp_path, "xdg", "citadel")
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    with_variable = {**environment, "CITADEL_CONFIG": "../variable"}

    assert find_config_folder(Path("../named"), with_variable, local.parent) == named
    assert find_config_folder(None, with_variable, local.parent) == variable
    assert find_config_folder(None, environment, local.parent) == local
    assert find_config_folder(None, environment, tmp_path) == user


def test_a_config_folder_of_another_program_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    user = folder_in(tmp_path, "xdg", "citadel")

    assert find_config_folder(None, {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}, tmp_path) == user


def test_a_named_folder_that_does_not_exist_is_refused_with_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--config names .*/nowhere, which is not a folder"):
        find_config_folder(Path("nowhere"), {}, tmp_path)
    with pytest.raises(SettingsError, match=r"^CITADEL_CONFIG names .*/nowhere, which is not a folder"):
        find_config_folder(None, {"CITADEL_CONFIG": "nowhere"}, tmp_path)


def test_a_folder_that_cant_be_looked_at_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't be looked at for gpu_allocation.yaml: File name too long"):
        find_config_folder(None, {"XDG_CONFIG_HOME": str(tmp_path / ("x" * 300))}, tmp_path)


def test_where_nobody_has_written_one_the_programs_own_holds_with_an_empty_catalog(tmp_path: Path) -> None:
    folder = find_config_folder(None, {"HOME": str(tmp_path / "home")}, tmp_path)
    assert folder == DEFAULTS_FOLDER

    settings = load_settings(folder, {}, find_dotenv(folder, tmp_path))
    assert settings.models == ()
    assert settings.policy == load_settings(config_folder(tmp_path), {}, None).policy


def test_the_programs_allocation_is_the_one_of_the_checkout() -> None:
    """With all its comments: what `citadel init` writes is read by people."""
    of_checkout = Path(__file__).parents[2] / "config" / ALLOCATION_FILE
    assert (DEFAULTS_FOLDER / ALLOCATION_FILE).read_text() == of_checkout.read_text()


def test_dotenv_beside_the_configuration_goes_before_the_one_in_the_working_folder(tmp_path: Path) -> None:
    folder, cwd = folder_in(tmp_path, "project", "config"), folder_in(tmp_path, "elsewhere")
    assert find_dotenv(folder, cwd) is None

    (cwd / ".env").touch()
    assert find_dotenv(folder, cwd) == cwd / ".env"

    (folder.parent / ".env").touch()
    assert find_dotenv(folder, cwd) == folder.parent / ".env"
