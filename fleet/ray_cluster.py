"""Ray as it must be run for a fleet of a few boxes: its settings, its ports, its command line, and what is refused before
anything starts. Imports no ray: who only starts it, or looks at it, need not wait, and a driver's settings must come first."""

from __future__ import annotations

import ipaddress
import os
import platform
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import EngineError
from engine.core.names import BoxName
from engine.core.serialization import Undecodable, from_json, to_readable_json
from engine.paths import Paths, make_folders, require_private
from engine.slab_peer import fault_of_address
from engine.whole_file import read_whole, write_whole

RAY_VERSION: Final = "2.60.0"
"""The one that was tested; all boxes need the same."""
RESOURCE: Final = "citadel:{box}"
"""What a box's own raylet alone has, and the name of its agent."""
FIRST_PORT: Final = 26400
"""Of the head's control store; a box uses so many from its first on:"""
PORTS: Final = 50
_OF_SLABS: Final = range(7, 10)
SLAB_PORTS: Final = tuple(FIRST_PORT + place for place in _OF_SLABS)
"""At the first of these that is free, a box's engine gives prepared slabs to other boxes: the box's firewall knows them, and Ray
never has them."""
INSTALL: Final = "{python} -m pip install ray=={ray}"

_FIRST_WORKER: Final = 10
_DEEPEST: Final = "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
"""What Ray puts behind its temporary folder for a socket, whose path may have 107 bytes."""
_SOCKET_BYTES: Final = 107
_MOST_BYTES: Final = 1 << 16
_STORE_BYTES: Final = 80_000_000
"""The least that Ray's object store may have; nothing of ours needs it."""


class FleetRefused(EngineError):
    """Ray can't be run as asked: says what is missing, what was kept, and what to do."""


class Membership(Struct, frozen=True):
    """A box's part in a fleet's Ray."""

    box: BoxName
    address: str
    """Of this box: where its Ray listens, and the others find it."""
    head: str
    """Address and port of the head's control store."""
    first_port: int = FIRST_PORT

    @property
    def is_head(self) -> bool:
        return self.head == f"{self.address}:{self.first_port}"

    @property
    def is_alone(self) -> bool:
        """Whether nobody else can reach it."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def raylet_port(self) -> int:
        return self.first_port + 1

    @property
    def ports(self) -> tuple[int, ...]:
        """Where Ray may listen on this box."""
        return tuple(self.first_port + place for place in range(PORTS) if place not in _OF_SLABS)


class RayFolder:
    """Where a box keeps what its Ray needs; nobody else may enter."""

    def __init__(self, paths: Paths) -> None:
        self.path: Final = paths.state / "ray"
        self.membership: Final = self.path / "membership.json"
        self.token: Final = self.path / "token"
        self.ca: Final = self.path / "ca.crt"
        self.ca_key: Final = self.path / "ca.key"
        """Of the head alone."""
        self.certificate: Final = self.path / "box.crt"
        self.key: Final = self.path / "box.key"
        self.store: Final = self.path / "gcs"
        """What the head's control store knows; of the head alone."""
        self.temporary: Final = paths.run / "ray"

    def read(self) -> Membership | None:
        """This box's part; None where it is in no fleet's Ray. Raises FleetRefused for what can't be read."""
        try:
            return from_json(read_whole(self.membership, _MOST_BYTES), Membership)
        except FileNotFoundError:
            return None
        except (OSError, Undecodable) as error:
            raise FleetRefused(
                f"{self.membership} can't be read ({error}); `citadel fleet leave` and join anew"
            ) from error

    def write(self, membership: Membership) -> None:
        """Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.membership, to_readable_json(membership))


def versions() -> dict[str, str]:
    """What all boxes must have alike; of Ray nothing where it is not installed. Loads none of it."""
    try:
        installed = version("ray")
    except PackageNotFoundError:
        installed = ""
    return {"ray": installed, "python": platform.python_version()}


def wrong_versions(theirs: dict[str, str], whose: str, python: str = sys.executable) -> Iterator[str]:
    """Why a box's Ray would not do beside this box's, in words."""
    if theirs.get("ray") != RAY_VERSION:
        found = theirs.get("ray") or "none"
        install = INSTALL.format(python=python, ray=RAY_VERSION)
        yield f"{whose} needs Ray {RAY_VERSION} and has {found}: install it there with `{install}`"
    if theirs.get("python") != platform.python_version():
        yield f"{whose} has Python {theirs.get('python')}, this box {platform.python_version()}: Ray takes equal ones alone"


def check_address(address: str) -> None:
    """Raises FleetRefused for one that is none, or that the world may reach: who gets in can run programs."""
    if fault := fault_of_address(address):
        raise FleetRefused(fault)


def checked_membership(paths: Paths) -> Membership:
    """This box's part in a fleet's Ray, once nothing is known that would keep it from running, or open it to others. Raises
    FleetRefused."""
    folder = RayFolder(paths)
    membership = folder.read()
    if membership is None:
        raise FleetRefused(
            "this box is in no fleet's Ray; `citadel fleet init` begins one, `citadel fleet add` on its head joins"
        )
    if wrong := next(wrong_versions(versions(), "this box"), ""):
        raise FleetRefused(wrong)
    check_address(membership.address)
    require_private(folder.path)
    for secret in (folder.token, folder.key, folder.certificate, folder.ca):
        _check_secret(secret)
    if len(os.fsencode(folder.temporary)) + len(_DEEPEST) > _SOCKET_BYTES:
        raise FleetRefused(
            f"{folder.temporary} is too long for Ray's sockets; set CITADEL_HOME to a folder with a shorter path"
        )
    make_folders(paths)
    return membership


def _check_secret(file: Path) -> None:
    try:
        found = file.stat()
    except OSError as error:
        raise FleetRefused(
            f"Ray is not started without {file}: {error.strerror}. `citadel fleet add` gives a box its own"
        ) from None
    if stat.S_IMODE(found.st_mode) & 0o077 or not found.st_size:
        raise FleetRefused(
            f"Ray is not started: {file} is empty or open to other users. Close it with: chmod 600 {file}"
        )


def become_driver(paths: Paths) -> Membership:
    """Give this process what a driver of Ray's needs; ray must not have been imported yet. Raises FleetRefused."""
    membership = checked_membership(paths)
    os.environ |= environment(membership, RayFolder(paths))
    return membership


def environment(membership: Membership, folder: RayFolder) -> dict[str, str]:
    """What each process of Ray's on a box, and each of its drivers, must be given."""
    tls = {
        "RAY_USE_TLS": "1",
        "RAY_TLS_CA_CERT": str(folder.ca),
        "RAY_TLS_SERVER_CERT": str(folder.certificate),
        "RAY_TLS_SERVER_KEY": str(folder.key),
    }
    # On loopback Ray binds to it alone only where it takes itself for a cluster of one machine.
    alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if membership.is_alone else {}
    store = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder.store)} if membership.is_head else {}
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder.token),
        # A box that went without a word is noticed after some 7 s; by default that takes more than 40.
        "RAY_health_check_initial_delay_ms": "2000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "4",
        # Each box asks whether it was given up, upon which its Ray ends itself and is started anew. By itself it says nothing on
        # an idle line, and hears of a cut only when the head's TCP tries again, which may be as long after it as it took.
        "RAY_raylet_liveness_self_check_interval_ms": "2000",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        # It would kill agents where models fill the memory, as they should.
        "RAY_memory_monitor_refresh_ms": "0",
        **store,
        **tls,
        **alone,
    }


def start_command(membership: Membership, folder: RayFolder) -> list[str]:
    """`ray start` for a box: in the foreground, with fixed ports."""
    first = membership.first_port
    role = (
        ["--head", f"--port={first}", "--include-dashboard=false", "--no-monitor"]
        if membership.is_head
        else [f"--address={membership.head}"]
    )
    ports = {
        "node-manager-port": membership.raylet_port,
        "object-manager-port": first + 2,
        "runtime-env-agent-port": first + 3,
        "dashboard-agent-grpc-port": first + 4,
        "dashboard-agent-listen-port": first + 5,
        "metrics-export-port": first + 6,
        "min-worker-port": first + _FIRST_WORKER,
        "max-worker-port": first + PORTS - 1,
    }
    return [
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", *role),
        *(f"--{name}={port}" for name, port in ports.items()),
        f"--node-ip-address={membership.address}",
        f'--resources={{"{RESOURCE.format(box=membership.box)}":1}}',
        *("--num-cpus=0", "--num-gpus=0", f"--object-store-memory={_STORE_BYTES}"),
        *("--include-log-monitor=false", "--disable-usage-stats", f"--temp-dir={folder.temporary}"),
    ]
