"""What stays of a crash: the trace in a file that only its owner can read, without the values of variables."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

_NAME: Final = "console-crash.txt"


def write_trace(error: BaseException, folder: Path) -> Path | None:
    """The file that the trace was written to, or None when it could not be written."""
    path = folder / _NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path


def sentence(error: BaseException, path: Path | None) -> str:
    """What the operator is told."""
    where = f"; the trace is in {path}" if path else "; its trace could not be written"
    return f"citadel: the console broke ({type(error).__name__}); the engine and its models are untouched{where}"
