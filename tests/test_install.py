"""What is told while make installs, with a pip that says what a real one says."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

INSTALL: Final = Path(__file__).parents[1] / "tools/install.py"
SAID: Final = """\
Obtaining file:///srv/citadel
Collecting torch>=2.7
  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl.metadata (30 kB)
Requirement already satisfied: numpy in /usr/lib/python3
Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (182.3 MB)
  Using cached https://files.example/msgspec-0.22.0-cp311-cp311-linux_x86_64.whl (224 kB)
Processing {wheel} (from citadel-tui==0.1.0)
Installing collected packages: torch, msgspec, tiny, citadel-tui
Successfully installed citadel-tui-0.1.0 msgspec-0.22.0 tiny-1.0 torch-2.13.0
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which pip is a program that says SAID and what it was asked for, and ends with $STATUS."""
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    wheel.write_bytes(bytes(2_000_000))
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/__init__.py").touch()
    said = SAID.format(wheel=wheel)
    lines = ["import os, sys", f"print({said!r}, end='')", "print('ERROR: asked for', sys.argv[-1])"]
    program = "\n".join([*lines, "sys.exit(int(os.environ['STATUS']))"])
    (tmp_path / "pip/__main__.py").write_text(program)
    return {**os.environ, "PYTHONPATH": str(tmp_path), "STATUS": "0", "TERM": "xterm"}


def command(*options: str) -> list[str]:
    return [sys.executable, str(INSTALL), "Citadel", *options]


def test_without_a_terminal_there_are_whole_lines_with_sizes(environment: dict[str, str]) -> None:
    ran = subprocess.run(command("-e", "."), env=environment, capture_output=True, text=True)
    first, large, unpacking, done = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert first == "citadel: Citadel: looking up what is needed"
    assert large == "citadel:   torch 2.13.0, 182 MB"
    assert unpacking == "citadel: Citadel: 4 packages to unpack, 185 MB fetched"
    assert done.startswith("citadel: Citadel: 4 packages installed, ")


def test_on_a_terminal_a_line_changes_in_place(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command("-e", "."), env=environment, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # which is how a terminal ends
        pass
    os.close(ours)
    assert process.wait() == 0
    assert b"\r\x1b[Kcitadel: fetching: 2 packages, 183 MB; now msgspec 0.22.0  0:" in shown
    assert b"\r\x1b[Kcitadel: unpacking: 0 of 4 packages  0:" in shown


def test_what_pip_complains_of_is_shown_when_it_fails(environment: dict[str, str]) -> None:
    ran = subprocess.run(command("-e", "."), env={**environment, "STATUS": "3"}, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (3, "ERROR: asked for .\n")
