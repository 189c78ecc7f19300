"""What a Python process that is started from here finds in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import engine
from engine.child_environment import IMPORT_ROOT, child_environment


def test_a_child_imports_this_very_package_wherever_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()

    ran = subprocess.run(
        [sys.executable, "-P", "-c", "import engine; print(engine.__file__)"],
        env=child_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.strip() == engine.__file__


def test_a_childs_child_looks_in_the_same_places() -> None:
    once = child_environment({"PYTHONPATH": "/elsewhere"})

    assert once["PYTHONPATH"] == f"{IMPORT_ROOT}{os.pathsep}/elsewhere"
    assert child_environment(once) == once


def test_a_childs_own_variables_go_over_all_others() -> None:
    assert child_environment({"A": "theirs", "B": "theirs"}, A="own") == {
        "A": "own",
        "B": "theirs",
        "PYTHONPATH": str(IMPORT_ROOT),
        "HF_HUB_OFFLINE": "1",
    }
