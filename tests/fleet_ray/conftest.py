"""One cluster of Ray's for all tests of this folder: a head and three boxes on loopback, with Citadel's own settings for it."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from engine.paths import find_paths
from fleet.certificates import make_authority, make_certificate
from fleet.ray_cluster import PORTS, Membership, RayFolder, become_driver

_BELOW: Final = 32_000
"""From 32,768 on the kernel gives ports to whoever connects: one that was free may be somebody's a moment later."""


def _first_free_port() -> int:
    """The first of as many as a box's Ray takes, none of which anybody has."""
    first = next(first for first in range(12_000 + secrets.randbelow(15_000), _BELOW, PORTS) if _are_free(first))
    assert first + PORTS <= _BELOW
    return first


def _are_free(first: int) -> bool:
    try:
        for port in range(first, first + PORTS):
            socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def begun(home: Path, box: str = "head") -> Membership:
    """A head on loopback, with a token and certificates."""
    folder, port = RayFolder(find_paths({"CITADEL_HOME": str(home)})), _first_free_port()
    folder.path.mkdir(mode=0o700, parents=True)
    folder.token.write_text(secrets.token_hex(32))
    folder.token.chmod(0o600)
    make_authority(folder.ca, folder.ca_key)
    make_certificate("127.0.0.1", folder.certificate, folder.key, (folder.ca, folder.ca_key))
    membership = Membership(box, "127.0.0.1", f"127.0.0.1:{port}", port)
    folder.write(membership)
    return membership


if not os.environ.get("FLEET_RAY"):  # by `make fleet`: it takes the extra, and half a minute for the cluster alone
    collect_ignore_glob = ["test_*.py"]
else:
    _FOLDER: Final = tempfile.TemporaryDirectory(prefix="fleet-")
    begun(Path(_FOLDER.name))
    # Before any import of ray, which reads its settings once.
    _HEAD: Final = become_driver(find_paths({"CITADEL_HOME": _FOLDER.name}))

    from tests.fleet_ray.clusters import Boxes

    @pytest.fixture(scope="session")
    def cluster() -> Iterator[Boxes]:
        with Boxes(Path(_FOLDER.name), _HEAD) as made:
            yield made

    @pytest.fixture
    async def boxes(cluster: Boxes) -> Boxes:
        """All of them up: Ray may take longer to start an agent than a question waits for its answer."""
        await cluster.agents_answer()
        return cluster
