"""A running engine for real clients. They live in an environment of their own, where nothing of Citadel is installed: `make
clients` names the engine's interpreter in CITADEL_PYTHON. Elsewhere these tests are skipped."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.box import Box

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network for prices when it is imported

collect_ignore_glob = [] if os.environ.get("CITADEL_PYTHON") else ["test_*.py"]


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """One engine for all tests of a run, with one key."""
    python = os.environ["CITADEL_PYTHON"]
    with tempfile.TemporaryDirectory(prefix="citadel-") as folder:
        home, config = Path(folder, "home"), Path(folder, "config")
        config.mkdir()
        box = Box(python, home, config, _free_port())
        box.run("-m", "tests.clients.models", str(config))
        box.key = box.citadel("keys", "add", "tests").strip()
        serving = subprocess.Popen([python, "-m", "citadel_tui", "serve", "--http", box.address], env=box.environment)
        try:
            box.wait_until_ready(serving)
            yield box
        finally:
            serving.terminate()
            serving.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
