"""Files that are there whole or not at all: a reader sees the old one or the new one, never half of it, nor more than
any such file has."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

FOR_OWNER: Final = 0o600
FOR_ALL: Final = 0o666
"""As the user's umask has it."""


def read_whole(path: Path, most_bytes: int) -> bytes:
    """All of the file. Raises OSError, with EFBIG where it is larger than any such file is."""
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than any such file is, {most_bytes} bytes", str(path))
    return content


def write_whole(path: Path, content: bytes, mode: int = FOR_OWNER) -> None:
    """Put `content` in the place of `path`. Raises OSError; then what was there still is, and nothing beside it."""
    # Beside it, since a rename is at once only within a file system; a new name each time, since two may write the same file.
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
