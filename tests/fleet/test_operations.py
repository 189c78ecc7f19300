"""A fleet's Ray is begun, grown, looked at and left, over a scripted ssh and a scripted systemd; Ray is only named."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.api import EngineError
from engine.paths import find_paths, fleet_file
from fleet.operations import main
from fleet.ray_cluster import (
    FIRST_PORT,
    PORTS,
    RAY_VERSION,
    Membership,
    RayFolder,
    check_address,
    checked_membership,
)
from fleet.settings import BoxEntry, load_fleet

HEAD, FAR = "10.77.0.1", "10.77.0.2"


class Fleet:
    """This box, and those that ssh reaches."""

    def __init__(self, hosts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts = hosts
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def run(self, *words: str) -> tuple[int, str]:
        """What `citadel fleet` would answer."""
        self._monkeypatch.setattr(sys, "argv", ["citadel fleet", *words])
        status = main()
        return status, self._capsys.readouterr().out

    @property
    def here(self) -> RayFolder:
        return RayFolder(find_paths(os.environ))

    def far(self, box: str) -> RayFolder:
        return RayFolder(find_paths({"CITADEL_HOME": str(self.hosts / box)}))

    @property
    def systemd_heard(self) -> list[str]:
        said = self.hosts.parent / "systemctl.log"
        return said.read_text().splitlines() if said.exists() else []

    @property
    def boxes(self) -> dict[str, BoxEntry]:
        return load_fleet(fleet_file(os.environ)).boxes


@pytest.fixture
def fleet(folder: Path, hosts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """With Ray installed, as far as its version tells, and a systemd that does as it is told."""
    installed = folder / "site" / f"ray-{RAY_VERSION}.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ray\nVersion: {RAY_VERSION}\n")
    monkeypatch.syspath_prepend(installed.parent)
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{installed.parent}{os.pathsep}{root}")
    systemctl = folder / "bin" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {folder}/systemctl.log\necho active\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("CITADEL_HOME", str(folder / "here"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (hosts / "far").mkdir()
    return Fleet(hosts, capsys, monkeypatch)


def begun(fleet: Fleet) -> None:
    """A head whose address others could reach, which this machine need not have."""
    assert fleet.run("init", "--address", "127.0.0.1", "--name", "box1")[0] == 0
    fleet.here.write(Membership("box1", HEAD, f"{HEAD}:{FIRST_PORT}"))


def test_a_fleet_is_begun_with_secrets_that_only_their_owner_reads(fleet: Fleet) -> None:
    status, said = fleet.run("init", "--address", "127.0.0.1", "--name", "box1")
    assert status == 0, said
    assert {stat.S_IMODE(file.stat().st_mode) for file in fleet.here.path.iterdir()} == {0o600}
    assert stat.S_IMODE(fleet.here.path.stat().st_mode) == 0o700
    assert fleet.boxes == {"box1": BoxEntry()}
    assert "--user enable --now citadel-ray.service" in fleet.systemd_heard
    assert "--user enable --now citadel-fleet.service" in fleet.systemd_heard
    assert "nft insert rule" in said
    assert checked_membership(find_paths(os.environ)).is_head
    assert "already" in fleet.run("init", "--address", "127.0.0.1")[1]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("8.8.8.8", "8.8.8.8 can be reached from everywhere; give a private one"),
        ("0.0.0.0", "can be reached from everywhere"),
        ("box1.lan", "box1.lan is no IP address"),
        ("10.255.255.254", "10.255.255.254 is no address of this box (Cannot assign requested address); give one"),
    ],
)
def test_an_address_that_will_not_do_is_refused_and_nothing_made(fleet: Fleet, address: str, words: str) -> None:
    status, said = fleet.run("init", "--address", address)
    assert (status, fleet.here.path.exists(), fleet.systemd_heard) == (2, False, [])
    assert words in said


def test_an_address_of_a_vpn_will_do() -> None:
    for address in ("10.0.0.1", "192.168.1.4", "100.64.0.7", "fd00::1", "127.0.0.1"):
        check_address(address)


def test_a_box_joins_with_a_certificate_of_the_heads_and_its_unit_is_started(fleet: Fleet) -> None:
    begun(fleet)
    status, said = fleet.run("add", "box2", "far", "--address", FAR)
    assert status == 0, said
    far = fleet.far("far")
    assert far.read() == Membership("box2", FAR, f"{HEAD}:{FIRST_PORT}")
    assert far.token.read_text() == fleet.here.token.read_text()
    assert not far.ca_key.exists()
    verify = ["openssl", "verify", "-CAfile", str(fleet.here.ca), "-verify_ip", FAR, str(far.certificate)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    assert {stat.S_IMODE(file.stat().st_mode) for file in far.path.iterdir()} == {0o600}
    assert (fleet.hosts / "far/.config/systemd/user/citadel-ray.service").exists()
    assert fleet.boxes == {"box1": BoxEntry(), "box2": BoxEntry(ray="far")}
    assert "the fleet's service does not run" in said
    assert sorted(file.name for file in fleet.here.path.iterdir()) == [
        *("box.crt", "box.key", "ca.crt", "ca.key", "membership.json", "token")
    ]


def taken_port() -> socket.socket:
    """A listener on one of the ports that Ray would use; others may be at it on this machine, too."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    raise AssertionError("all are taken")


def test_what_keeps_a_box_from_joining_is_said_at_once_and_nothing_is_changed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(fleet)
    monkeypatch.setattr(platform, "python_version", lambda: "3.11.0")
    with taken_port() as taken:
        port = taken.getsockname()[1]
        status, said = fleet.run("add", "box2", "far", "--address", "8.8.8.8")
    assert status == 2
    for words in (
        ", this box 3.11.0: Ray takes equal ones alone",
        "on box2 somebody listens on ",
        f"{port}",
        "box2 speaks to this box by an address that will not do: 8.8.8.8 can be reached from everywhere",
        "nothing was changed on far",
    ):
        assert words in said
    assert not fleet.far("far").path.exists()
    assert list(fleet.boxes) == ["box1"]


def test_a_box_without_citadel_or_that_ssh_does_not_reach_is_told_in_words(fleet: Fleet) -> None:
    begun(fleet)
    assert "Citadel was not found on far as /no/python" in fleet.run("add", "box2", "far", "--python", "/no/python")[1]
    assert "Could not resolve hostname box2" in fleet.run("add", "box2")[1]
    assert "boxes are added on the head" in _as_member(fleet)


def _as_member(fleet: Fleet) -> str:
    fleet.here.write(Membership("box1", FAR, f"{HEAD}:{FIRST_PORT}"))
    return fleet.run("add", "box2", "far")[1]


def test_a_box_that_leaves_forgets_the_token_and_the_file_forgets_the_box(fleet: Fleet) -> None:
    begun(fleet)
    fleet.run("add", "box2", "far", "--address", FAR)
    assert "box2 joined this head's Ray; let them leave first" in fleet.run("leave")[1]
    status, said = fleet.run("leave", "box2")
    assert status == 0, said
    assert not fleet.far("far").path.exists()
    assert not (fleet.hosts / "far/.config/systemd/user/citadel-ray.service").exists()
    assert list(fleet.boxes) == ["box1"]
    assert fleet.run("leave")[0] == 0
    assert not fleet.here.path.exists()


def test_a_box_that_can_not_be_told_to_leave_is_named_with_what_to_do_there(fleet: Fleet) -> None:
    begun(fleet)
    fleet.run("add", "box2", "far", "--address", FAR)
    (fleet.hosts / "far").rename(fleet.hosts / "gone")
    status, said = fleet.run("leave", "box2")
    assert (status, list(fleet.boxes)) == (2, ["box1"])
    assert "Ray may still run on box2, with the token: run `citadel fleet leave` there" in said


def test_the_doctor_says_how_each_box_is_reached_and_what_is_wrong(fleet: Fleet) -> None:
    assert fleet.run("doctor")[0] == 0
    begun(fleet)
    fleet.run("add", "box2", "far", "--address", FAR)
    file = fleet_file(os.environ)
    file.write_text(file.read_text() + "  box3: {ssh: ann@box3}\n")
    status, said = fleet.run("doctor")
    assert status == 1
    for words in (
        "box2: through Ray, on what ssh calls far",
        "box3: by ssh to ann@box3",
        "! box2: Ray does not run, its unit is active",
        f"ip saddr != {{ {HEAD}, {FAR}, 127.0.0.0/8 }} tcp dport 26400-26449 drop",
    ):
        assert words in said


def test_a_file_that_is_written_in_one_line_stays_so(fleet: Fleet) -> None:
    begun(fleet)
    file = fleet_file(os.environ)
    file.write_text("boxes: {box1: {}}  # ours\n")
    assert fleet.run("add", "box2", "far", "--address", FAR)[0] == 0
    assert file.read_text() == "boxes: {box2: {ray: far}, box1: {}}  # ours\n"
    assert sorted(each.name for each in file.parent.iterdir() if "fleet.yaml" in each.name) == ["fleet.yaml"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: folder.token.unlink(), "Ray is not started without .*token"),
        (lambda folder: folder.token.write_text(""), "token is empty or open to other users"),
        (lambda folder: folder.key.chmod(0o644), "box.key is empty or open to other users"),
        (lambda folder: folder.path.chmod(0o755), "is open to other users"),
        (lambda folder: folder.membership.write_text("{}"), "membership.json can't be read"),
        (lambda folder: folder.membership.unlink(), "this box is in no fleet's Ray"),
    ],
)
def test_ray_is_not_started_without_its_secrets(
    fleet: Fleet, change: Callable[[RayFolder], object], words: str
) -> None:
    begun(fleet)
    change(fleet.here)
    with pytest.raises(EngineError, match=words):
        checked_membership(find_paths(os.environ))


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["init", "--address", "8.8.8.8"], "8.8.8.8 can be reached from everywhere"),
        (["add", "box2", "far", "--python=/no/python"], "boxes are added where `citadel fleet init` was"),
        (["leave", "box2"], "has no box box2; it has box1"),
        (["doctor"], "it is in no fleet's Ray; boxes are reached by sockets and ssh"),
        (["node"], "this box is in no fleet's Ray"),
    ],
)
def test_the_commands_are_citadels(fleet: Fleet, words: list[str], answer: str) -> None:
    fleet_file(os.environ).parent.mkdir()
    fleet_file(os.environ).write_text("boxes:\n  box1: {}\n")
    command = [sys.executable, "-m", "citadel_tui", "fleet", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer in ran.stdout + ran.stderr
