"""Ray as it must be run for a fleet of a few boxes: its settings, its ports, its command lines.

Kept apart: imports no ray, so that who only starts it, or looks at it, does not wait for that.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import EngineError
from engine.core.names import BoxName
from engine.paths import Paths

RAY_VERSION: Final = "2.60.0"
"""The one that was tested; all boxes need the same."""
RESOURCE: Final = "citadel:{box}"
"""What a box's own raylet alone has, and the name of its agent."""
FIRST_PORT: Final = 26400
WORKER_PORTS: Final = 40
"""For agents and drivers; one after the other has a few of them."""

_TEMPORARY_BYTES: Final = 40
"""Of the path of Ray's temporary folder: its sockets lie 65 bytes deeper, and a socket's path may have 107."""
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
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        # It would kill agents where models fill the memory, as they should.
        "RAY_memory_monitor_refresh_ms": "0",
        **store,
        **tls,
        **alone,
    }


def start_command(ray: Path, membership: Membership, folder: RayFolder) -> list[str]:
    """`ray start` for a box: in the foreground, with fixed ports."""
    first = membership.first_port
    role = (
        ["--head", f"--port={first}", "--include-dashboard=false", "--no-monitor"]
        if membership.is_head
        else [f"--address={membership.head}"]
    )
    ports = {
        "node-manager-port": first + 1,
        "object-manager-port": first + 2,
        "runtime-env-agent-port": first + 3,
        "dashboard-agent-grpc-port": first + 4,
        "dashboard-agent-listen-port": first + 5,
        "metrics-export-port": first + 6,
        "min-worker-port": first + 10,
        "max-worker-port": first + 9 + WORKER_PORTS,
    }
    return [
        *(str(ray), "start", "--block", *role),
        *(f"--{name}={port}" for name, port in ports.items()),
        f"--node-ip-address={membership.address}",
        f'--resources={{"{RESOURCE.format(box=membership.box)}":1}}',
        *("--num-cpus=0", "--num-gpus=0", f"--object-store-memory={_STORE_BYTES}"),
        *("--include-log-monitor=false", "--disable-usage-stats", f"--temp-dir={folder.temporary}"),
    ]
