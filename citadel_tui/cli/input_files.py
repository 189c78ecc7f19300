"""Files that the operator names on the command line, read line by line; what is wrong with one is told with its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from engine.api import EngineError
from engine.recording.trace import TraceError

_Read = TypeVar("_Read")


def read_lines(path: Path, read: Callable[[Iterable[str]], _Read], left: str) -> _Read:
    """What `read` makes of the lines of `path`. Raises EngineError, which says what was `left` undone."""
    try:
        with path.open(encoding="utf-8") as file:
            return read(file)
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EngineError(f"{path} is not text in UTF-8") from None
    except TraceError as error:
        raise EngineError(f"{path}, {error}; {left}") from None
