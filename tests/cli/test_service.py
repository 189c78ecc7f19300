"""`citadel service`: the units that systemd is given, as its own tools judge them, and what is written and removed."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from citadel_tui.cli.setup.service_unit import MARK, UNIT, Manager, UnitFacts, unit_text
from tests.cli.conftest import Citadel

MOST_EXPOSURE = 5.0
NASTY = 'a "b" $c %d\\e'


def facts(manager: Manager, *, namespaces: bool = True, word: str = "serve") -> UnitFacts:
    user = "somebody" if manager == "system" else ""
    return UnitFacts(manager, ("/bin/true", word), (Path("/tmp"),), Path("/tmp/cache"), user, namespaces=namespaces)


def analyzed(folder: Path, manager: Manager, unit: str, *words: str) -> str:
    """What systemd-analyze says of a unit."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    (folder / UNIT).write_text(unit)
    ran = subprocess.run(
        ["systemd-analyze", *words, f"--{manager}", folder / UNIT],
        env={"XDG_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("manager", ["user", "system"])
def test_little_is_left_open_to_the_engine(tmp_path: Path, manager: Manager) -> None:
    said = analyzed(tmp_path, manager, unit_text(facts(manager)), "security", "--offline=true", "--no-pager")
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert score, said
    assert float(score[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize("namespaces", [True, False])
@pytest.mark.parametrize("manager", ["user", "system"])
def test_systemd_has_no_complaint_about_a_unit(tmp_path: Path, manager: Manager, namespaces: bool) -> None:
    said = analyzed(tmp_path, manager, unit_text(facts(manager, namespaces=namespaces, word=NASTY)), "verify")
    # Of citadel(1), which is not installed where tests run.
    complaints = [line for line in said.splitlines() if UNIT in line and "man citadel(1)" not in line]
    assert complaints == []


def test_a_word_is_read_back_as_it_was_meant() -> None:
    assert 'ExecStart=/bin/true "a \\"b\\" $$c %%d\\\\e"\n' in unit_text(facts("user", word=NASTY))


def test_a_user_who_may_have_no_namespaces_gets_a_unit_without_what_needs_them() -> None:
    without = unit_text(facts("user", namespaces=False))
    assert not re.search("Private|Protect|Capability|ReadWrite", without.replace("# Not Private", ""))
    assert "SystemCallFilter=@system-service" in without


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's unit; the working folder has no configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "xdg" / "systemd" / "user" / UNIT


def text_of(path: Path) -> str:
    return path.read_text()


def is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def overwrite(path: Path, text: str = "[Service]\n") -> None:
    path.write_text(text)


def enabled(unit: Path) -> Path:
    """The link that `systemctl enable` makes."""
    wanted = unit.parent / "default.target.wants" / UNIT
    wanted.parent.mkdir()
    wanted.symlink_to(unit)
    return wanted


async def test_a_unit_is_written_replaced_and_removed(citadel: Citadel, user: Path) -> None:
    ran = await citadel("service", "install", "--user", "--http", "127.0.0.1:8484")
    assert ran.status == 0
    assert "systemctl --user daemon-reload && systemctl --user enable --now citadel" in ran.err
    unit = text_of(user)
    assert " serve --http 127.0.0.1:8484\n" in unit
    assert f"CITADEL_HOME={os.environ['CITADEL_HOME']}" in unit
    for folder in re.findall(r"ReadWritePaths=(.*)", unit)[0].split():
        assert is_there(Path(folder))

    assert (await citadel("service", "install", "--user")).status == 0
    assert "--http" not in text_of(user)

    wanted = enabled(user)
    ran = await citadel("service", "uninstall", "--user")
    assert (ran.status, is_there(user), is_there(wanted)) == (0, False, False)
    assert "systemctl --user stop citadel" in ran.err
    assert "nothing is to be removed" in (await citadel("service", "uninstall", "--user")).err


async def test_printing_writes_nothing(citadel: Citadel, user: Path) -> None:
    ran = await citadel("service", "install", "--user", "--print")
    assert ran.out.startswith(MARK)
    assert not is_there(user)


async def test_a_unit_of_somebody_else_is_left_alone(citadel: Citadel, user: Path) -> None:
    await citadel("service", "install", "--user")
    overwrite(user)
    for action in ("install", "uninstall"):
        ran = await citadel("service", action, "--user")
        assert ran.status == 3
        assert "was not written by this command" in ran.err
    assert text_of(user) == "[Service]\n"


async def test_the_configuration_is_named_in_the_unit_unless_it_is_the_programs(
    citadel: Citadel, user: Path, tmp_path: Path
) -> None:
    assert "--config" not in (await citadel("service", "install", "--user", "--print")).out
    await citadel("init", "a folder")
    printed = (await citadel("service", "install", "--user", "--print", "--config", "a folder")).out
    assert f'--config "{tmp_path}/a folder"' in printed
    assert not is_there(user)


async def test_what_no_engine_would_start_with_is_refused_now(citadel: Citadel, user: Path, tmp_path: Path) -> None:
    ran = await citadel("service", "install", "--user", "--http", "nowhere")
    assert ran.status == 1
    assert "CITADEL_LISTEN" in ran.err
    await citadel("init", "mine")
    overwrite(tmp_path / "mine" / "gpu_allocation.yaml")
    ran = await citadel("service", "install", "--user", "--config", "mine")
    assert (ran.status, "gpu_allocation.yaml" in ran.err) == (1, True)
    assert not is_there(user)


async def test_variables_that_the_service_would_not_read_are_pointed_out(
    citadel: Citadel, user: Path, tmp_path: Path
) -> None:
    overwrite(tmp_path / ".env", "CUDA_ENABLED=false\n")
    assert f"{tmp_path}/.env is not read by a service" in (await citadel("service", "install", "--user")).err
    await citadel("init", "config")
    assert "is not read" not in (await citadel("service", "install", "--user")).err
    assert is_there(user)


async def test_the_machines_unit_belongs_to_an_account(
    citadel: Citadel, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = pwd.getpwuid(os.getuid())
    monkeypatch.delenv("SUDO_USER", raising=False)
    printed = (await citadel("service", "install", "--system", "--print", "--run-as", me.pw_name)).out
    assert f"\nUser={me.pw_name}\n" in printed
    assert f"ReadWritePaths=/tmp {me.pw_dir}/.local/state {me.pw_dir}/.cache\n" in printed
    assert "DeviceAllow=char-nvidia* rw" in printed

    ran = await citadel("service", "install", "--system", "--print", "--run-as", "nobody-of-that-name")
    assert (ran.status, "there is no account nobody-of-that-name" in ran.err) == (3, True)
    ran = await citadel("service", "install", "--user", "--run-as", me.pw_name)
    assert (ran.status, "--run-as goes with --system" in ran.err) == (3, True)
    assert not is_there(user)
