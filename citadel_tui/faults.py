"""What stays of a fault of the console's own: of a crash its trace, of what could not be painted a line of the console's log.

Both are files that only their owner can read, without the values of variables.
"""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path
from typing import Final

from citadel_tui.text import clean
from engine.api import EngineError
from engine.paths import find_paths

_TRACE_FILE: Final = "console-crash.txt"
_LOG_FILE: Final = "console.log"
_LOG_LIMIT_BYTES: Final = 256 * 1024
_PLACES: Final = 4
"""Innermost calls that a line of the log names."""


def write_trace(error: BaseException, folder: Path) -> Path | None:
    """The file that the trace was written to, or None when it could not be written."""
    path = folder / _TRACE_FILE
    try:
        path.unlink(missing_ok=True)
        _append(path, "".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path


def crash_text(error: BaseException, path: Path | None) -> str:
    """What the operator is told."""
    where = f"; the trace is in {path}" if path else "; its trace could not be written"
    return f"citadel: the console broke ({type(error).__name__}); the engine and its models are untouched{where}"


class Unpainted:
    """Writes down what could not be painted, once for each place: what breaks with each new scene would fill the disk."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, error: Exception) -> str | None:
        """What the operator is told; None when this was told before."""
        places = _places(error)
        if places in self._known:
            return None
        self._known.add(places)
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} not painted: {type(error).__name__}: {clean(str(error))} ({places})\n"
        return f"a part of the screen could not be painted ({type(error).__name__}) and is left out; {_kept(line)}"


def _places(error: Exception) -> str:
    """Where it broke, innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-_PLACES:])
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)


def _kept(line: str) -> str:
    """Whether the log has the line now, in words."""
    try:
        path = find_paths(os.environ).state / _LOG_FILE
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.unlink()
        _append(path, line)
    except (OSError, EngineError) as problem:
        return f"this could not be written down: {problem}"
    return f"{path} says where"


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(text)
