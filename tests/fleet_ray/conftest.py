"""One cluster of Ray's for all tests of this folder: a head and three boxes on loopback, with Citadel's own settings for it."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from engine.paths import find_paths
from fleet.ray_cluster import Membership, RayFolder, environment

if not os.environ.get("FLEET_RAY"):  # by `make fleet`: it takes the extra, and half a minute for the cluster alone
    collect_ignore_glob = ["test_*.py"]
else:
    # Before any import of ray, which reads these once.
    _FOLDER: Final = tempfile.TemporaryDirectory(prefix="fleet-")
    _RAY: Final = RayFolder(find_paths({"CITADEL_HOME": _FOLDER.name}))
    _RAY.path.mkdir(parents=True)
    _RAY.token.write_text(secrets.token_hex(32))
    _RAY.token.chmod(0o600)
    os.environ |= environment(Membership("head", "127.0.0.1", "127.0.0.1:26400"), _RAY) | {"RAY_USE_TLS": "0"}

    from tests.fleet_ray.clusters import Boxes

    @pytest.fixture(scope="session")
    def boxes() -> Iterator[Boxes]:
        with Boxes(Path(_FOLDER.name)) as made:
            yield made
