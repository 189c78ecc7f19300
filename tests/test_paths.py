"""Where things are kept, and which folders are not trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.paths import PathRefused, Paths, config_home, find_paths, make_folders, require_private


def test_citadel_home_holds_everything(tmp_path: Path) -> None:
    paths = find_paths({"CITADEL_HOME": str(tmp_path), "XDG_STATE_HOME": "/elsewhere"})

    assert paths == Paths(tmp_path / "run", tmp_path / "state", tmp_path / "cache")
    assert paths.socket == tmp_path / "run" / "engine.sock"
    assert paths.log == tmp_path / "state" / "engine.log"
    assert paths.journal == tmp_path / "state" / "journal"
    assert (paths.demand, paths.memory) == (tmp_path / "state" / "demand", tmp_path / "state" / "memory")


def test_the_base_directories_of_the_user_are_respected_but_for_the_one_that_logout_empties() -> None:
    environment = {
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "XDG_STATE_HOME": "/s",
        "XDG_CACHE_HOME": "/c",
        "XDG_CONFIG_HOME": "/k",
    }

    run = Path(f"/tmp/citadel-{os.getuid()}")
    assert find_paths(environment) == Paths(run, Path("/s/citadel"), Path("/c/citadel"))
    assert config_home(environment) == Path("/k/citadel")


def test_without_base_directories_the_home_is_used_and_tmp_for_the_socket() -> None:
    environment = {"HOME": "/home/ada", "XDG_CACHE_HOME": "relative"}

    assert find_paths(environment) == Paths(
        Path(f"/tmp/citadel-{os.getuid()}"),
        Path("/home/ada/.local/state/citadel"),
        Path("/home/ada/.cache/citadel"),
    )
    assert config_home(environment) == Path("/home/ada/.config/citadel")


def test_a_socket_path_that_the_system_cannot_take_is_refused() -> None:
    room_for_home = 107 - len("/run/engine.sock")
    find_paths({"CITADEL_HOME": "/" + "x" * (room_for_home - 1)})

    with pytest.raises(PathRefused, match="longer than the 107 bytes"):
        find_paths({"CITADEL_HOME": "/" + "x" * room_for_home})


def test_folders_are_made_closed_to_others(tmp_path: Path) -> None:
    paths = find_paths({"CITADEL_HOME": str(tmp_path / "new")})

    make_folders(paths)
    make_folders(paths)

    made = (paths.run, paths.state, paths.journal, paths.demand, paths.memory, paths.cache)
    assert {folder.stat().st_mode & 0o777 for folder in made} == {0o700}


def test_a_run_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    paths = find_paths({"CITADEL_HOME": str(tmp_path)})
    paths.run.mkdir()
    paths.run.chmod(0o755)

    with pytest.raises(PathRefused, match=r"open to other users\. Close it with: chmod 700"):
        make_folders(paths)


def test_a_link_in_place_of_the_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "trap")

    with pytest.raises(PathRefused, match="not a folder, but a link or a file"):
        make_folders(find_paths({"CITADEL_HOME": str(tmp_path)}))


def test_a_folder_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)

    with pytest.raises(PathRefused, match=f"belongs to user {owner}, not to you"):
        require_private(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(PathRefused, match=r"can't be made: .* Set CITADEL_HOME"):
        make_folders(find_paths({"CITADEL_HOME": str(tmp_path / "file")}))
