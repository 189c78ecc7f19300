"""Whether an engine process is there: it holds a lock on one file for its whole life, so the kernel knows even after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.api import EngineError
from engine.paths import Paths

_LOOK_S: Final = 0.01


class AlreadyRunning(EngineError):
    """Another engine of this user is there, or just starting."""


@contextlib.contextmanager
def sole_engine(paths: Paths) -> Iterator[None]:
    """Be the only engine of these paths while inside. Raises AlreadyRunning."""
    descriptor = os.open(_lock_file(paths), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(descriptor):
            raise AlreadyRunning(
                f"an engine is already running for {paths.run} (process {running_pid(paths)}); attach with `citadel`, "
                "end it with `citadel stop`, or set CITADEL_HOME for another"
            )
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours now. It is tried more than once, since a look by `running_pid` holds it for a moment."""
    for _attempt in range(3):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOOK_S)
    return False


def running_pid(paths: Paths) -> int | None:
    """Process id of the engine that holds the lock; 0 while it has not said; None when there is none."""
    try:
        descriptor = os.open(_lock_file(paths), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 20, 0) or b"0")
    finally:
        os.close(descriptor)
    return None


def _lock_file(paths: Paths) -> Path:
    return paths.run / "engine.lock"
