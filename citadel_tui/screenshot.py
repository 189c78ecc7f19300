"""Pictures of the screen, kept as files."""

from __future__ import annotations

import os
from pathlib import Path

from citadel_tui.dated_files import dated_path
from engine.api import EngineError


def save_picture(svg: str, folder: Path, at_s: float) -> Path:
    """Write a picture taken at `at_s` into `folder`, readable for its owner only; where. Raises EngineError."""
    try:
        path = dated_path(folder, at_s, ".svg")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(svg)
    except OSError as error:
        raise EngineError(f"no picture was saved: {error.filename or folder}: {error.strerror}") from None
    return path
