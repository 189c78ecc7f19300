"""Dockerfile and compose.yaml, as far as they can be judged without building: what they name is there, and they agree."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from citadel_tui.cli.parser import parse
from tests.test_wheel import PACKED

ROOT: Final = Path(__file__).parents[1]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()


def steps(name: str) -> list[str]:
    """What follows each instruction of that name, its lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", joined, re.MULTILINE)


def copied() -> set[str]:
    """What is copied from the checkout."""
    return {source for step in steps("COPY") for source in step.split()[:-1]}


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert set(compose) == {"services", "volumes"}
    found: dict[str, Any] = compose["services"]["citadel"]
    return found


def test_all_that_is_copied_is_there_and_not_ignored() -> None:
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for name in copied() if not (ROOT / name).exists()} == set()
    assert copied() == admitted


def test_a_wheel_can_be_made_of_what_is_copied() -> None:
    """Of that is the wheel that `test_wheel` tries; documents are not needed for it."""
    assert set(PACKED) - copied() == {"docs", "CHANGELOG.md"}


def test_what_the_container_runs_is_a_command() -> None:
    (entry,), (command,) = steps("ENTRYPOINT"), steps("CMD")
    assert json.loads(entry) == ["citadel"]
    words = json.loads(command)
    assert parse(words).arguments
    assert words[-1].rpartition(":")[2] == steps("EXPOSE")[0]


def test_compose_reserves_the_cards_and_reaches_the_door(service: dict[str, Any]) -> None:
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert [port.rpartition(":")[2] for port in service["ports"]] == steps("EXPOSE")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_what_compose_mounts_is_what_the_image_reads_and_writes(service: dict[str, Any]) -> None:
    variables = dict(pair.split("=", 1) for step in steps("ENV") for pair in step.split())
    targets = {re.sub(":ro$", "", volume).rpartition(":")[2] for volume in service["volumes"]}
    assert targets == {variables[name] for name in ("CITADEL_HOME", "CITADEL_CONFIG", "HF_HOME")}
    for volume in service["volumes"]:
        if volume.startswith("./"):
            assert (ROOT / volume.partition(":")[0]).is_dir()
    assert not any(fnmatch(volume, "*state:*:ro") for volume in service["volumes"])


def test_hadolint_has_no_complaint() -> None:
    if (hadolint := shutil.which("hadolint")) is None:
        pytest.skip("there is no hadolint here")
    ran = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")
