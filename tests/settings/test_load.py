"""Which folder the configuration is read from, and which `.env` goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings import SettingsError, find_config_folder, find_dotenv
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


def test_no_configuration_at_all_says_where_it_was_looked_for_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        find_config_folder(None, {"HOME": str(tmp_path / "home")}, tmp_path)

    assert f"neither in {tmp_path}/config nor in {tmp_path}/home/.config/citadel" in str(caught.value)
    assert "--config FOLDER or CITADEL_CONFIG" in str(caught.value)


def test_dotenv_beside_the_configuration_goes_before_the_one_in_the_working_folder(tmp_path: Path) -> None:
    folder, cwd = folder_in(tmp_path, "project", "config"), folder_in(tmp_path, "elsewhere")
    assert find_dotenv(folder, cwd) is None

    (cwd / ".env").touch()
    assert find_dotenv(folder, cwd) == cwd / ".env"

    (folder.parent / ".env").touch()
    assert find_dotenv(folder, cwd) == folder.parent / ".env"
