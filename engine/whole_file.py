"""Files that are there whole or not at all: a reader sees the old one or the new one, never half of it, nor more than any
such file has; after a loss of power as well."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FOR_OWNER: Final = 0o600
FOR_ALL: Final = 0o666
"""As the user's umask has it."""


def only_files(path: str, flags: int) -> int:
    """The opener of what may be a file and nothing else, and is made for its owner. Raises OSError for anything else in its
    place: a pipe that nobody writes to, or a device without an end, would be read for ever."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, FOR_OWNER)
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder `open` says it better
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", path)
    return descriptor


def read_whole(path: Path, most_bytes: int) -> bytes:
    """All of the file. Raises OSError, with EFBIG where it is larger than any such file is."""
    with open(path, "rb", opener=only_files) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than any such file is, {most_bytes} bytes", str(path))
    return content


def write_whole(path: Path, content: bytes, mode: int = FOR_OWNER) -> None:
    """Put `content` in the place of `path`; on return it is on the disk. Raises OSError; then what was there still is, and
    nothing beside it."""
    # Beside it, since a rename is at once only within a file system; a new name each time, since two may write the same file.
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # Before the rename: or the new name could reach the disk without the bytes.
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    _sync_name(path.parent)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Inside, nobody else changes a file in the folder by what it has read of it: the later one would lose what the other wrote.
    Raises BlockingIOError where somebody else is at it, and OSError."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)


def put_aside(path: Path) -> str:
    """Keep a file that can't be understood under another name, so that a new one can be written; what became of it, in words."""
    aside = path.with_suffix(".damaged")
    try:
        path.replace(aside)
    except OSError as error:
        return f"the file could not be put aside: {error.strerror}"
    return f"the file is kept as {aside.name}"


def _sync_name(folder: Path) -> None:
    """Have the new name on the disk, where the file system can do that for a folder; the file is replaced either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
