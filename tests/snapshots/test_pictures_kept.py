"""No picture is kept that no test takes any more. The plugin tells of such itself, but not when tests run side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent


def test_every_picture_that_is_kept_is_taken_by_a_test() -> None:
    program = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", str(HERE)]
    listed = subprocess.run(program, cwd=HERE.parents[1], capture_output=True, text=True, check=True)
    tests = [line.partition("::") for line in listed.stdout.splitlines()]
    taken = {f"{Path(file).stem}/{name}.svg" for file, _, name in tests}
    kept = {f"{picture.parent.name}/{picture.name}" for picture in HERE.rglob("*.svg")}
    assert kept
    assert kept <= taken
