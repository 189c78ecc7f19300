"""Folders that are either whole or not there: written under a hidden name beside their own, then renamed.

A workplace is held by a lock that ends with its process, so that whoever comes next can tell what a killed writer left from
what is still being written, and clear it away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.weights.errors import NotWritable


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A new hidden folder beside `folder`, gone at the end unless it was published. What killed writers left goes first. Raises
    NotWritable."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent):
            _clear_abandoned(folder.parent)
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            held = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
            _try_to_hold(held)
    except OSError as error:
        raise NotWritable(
            f"{folder.name} can't be prepared: {folder.parent} can't be written ({error.strerror}); what is there is as it was."
            " Make it writable or free some room, or set XDG_CACHE_HOME to another folder"
        ) from error
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(held)


def publish(temporary: Path, folder: Path) -> None:
    """Give a finished workplace its own name. What has the name now goes; who reads from it keeps the files it has open."""
    temporary.chmod(0o755)
    while True:
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            break
        aside = Path(f"{temporary}.old")
        with suppress(FileNotFoundError):  # another writer may have put it aside at this moment
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    _sync_names(folder.parent)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """While another process makes or clears workplaces in `folder`, this waits."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks: two writers at this very moment are rare
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def clear(folder: Path) -> None:
    """Have the folder gone, unless somebody holds it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        if _try_to_hold(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _clear_abandoned(parent: Path) -> None:
    for path in parent.glob(".*.*"):
        clear(path)


def _try_to_hold(descriptor: int) -> bool:
    """False when another process holds it, and where the file system knows no locks: then nothing counts as abandoned."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
