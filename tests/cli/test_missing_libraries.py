"""A Python without torch, or without transformers: whoever needs it hears so in one sentence."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"
HIDES = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == {library!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""


@pytest.mark.parametrize("library", ["torch", "transformers"])
@pytest.mark.parametrize(
    "line", ["serve", "load e5-small", "embed e5-small text", "prepare e5-small", "models make e5-small"]
)
async def test_a_missing_library_is_one_sentence(tmp_path: Path, library: str, line: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDES.format(library=library))
    search_path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "citadel_tui", "--config", str(CONFIG), *line.split()]
    environment = {**os.environ, "PYTHONPATH": search_path}
    ran = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    said = [text for text in ran.stderr.splitlines() if "starting the engine" not in text]
    assert (ran.returncode, ran.stdout, len(said)) == (1, "", 1), ran.stderr
    assert f"{library} is not installed for {sys.executable}, and no model runs without it; " in said[0]
