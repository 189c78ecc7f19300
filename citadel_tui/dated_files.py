"""Files that the console keeps under their date, each a new one, and what it calls them on the screen."""

from __future__ import annotations

import time
from pathlib import Path


def dated_path(folder: Path, at_s: float, suffix: str) -> Path:
    """Where in `folder`, which is made for its owner only, a file of this moment goes. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = time.strftime("%Y%m%d-%H%M%S", time.localtime(at_s))
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def told(path: Path, home: str | None) -> str:
    """As a shell would take it, and short: below `home`, the value of $HOME, from `~` on."""
    if home and path.is_relative_to(home):
        return f"~/{path.relative_to(home)}"
    return str(path)
