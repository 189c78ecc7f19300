"""The environment of every Python process that is started from here: it imports this very package, and asks no network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

IMPORT_ROOT: Final = Path(__file__).resolve().parents[1]
"""Where this very `engine` package was imported from."""


def child_environment(environment: Mapping[str, str] = os.environ, **own: str) -> dict[str, str]:
    """`environment` for a child that is started with `-P`, which keeps a folder named engine in the working folder from being
    taken for ours; `own` are the child's own variables, over all others."""
    search_path = environment.get("PYTHONPATH", "")
    if search_path.split(os.pathsep)[0] != str(IMPORT_ROOT):  # else a child's child would have it twice
        search_path = os.pathsep.join(filter(None, (str(IMPORT_ROOT), search_path)))
    return {**environment, "PYTHONPATH": search_path, "HF_HUB_OFFLINE": "1", **own}
