"""Hosts that a scripted ssh reaches, and short folders for sockets."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.paths import Paths, find_paths
from tests.fleet import fake_ssh


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as made:
        yield Path(made)


@pytest.fixture
def paths(folder: Path) -> Paths:
    return find_paths({"CITADEL_HOME": str(folder / "here")})


@pytest.fixture
def hosts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for each host that `ssh` reaches: its CITADEL_HOME."""
    made, programs = folder / "hosts", folder / "bin"
    made.mkdir()
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake_ssh.__file__}" "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_HOSTS", str(made))
    return made
