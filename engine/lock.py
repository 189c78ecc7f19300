"""The lock of the one engine of a user's folders: whoever allocates on the devices holds it for its whole life, in the service's
process or in a script's, so that the kernel knows of it even after a crash.

It is a file in the folder of the state, which no cleaner empties, and one in the run folder, which is shared by engines that have
each a state of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from engine.api import EngineError
from engine.paths import Paths, make_folders, require_private
from engine.whole_file import only_files

_MOST_BYTES: Final = 100
_LOOK_S: Final = 0.01
_ANSWERS_WITHIN_S: Final = 1.0
_ANOTHER_HOME: Final = "set CITADEL_HOME for another"
_WAYS_ON: Final = f"attach with `citadel`, end it with `citadel stop`, or {_ANOTHER_HOME}"

Host: TypeAlias = Literal["service", "script"]
"""What kind of process an engine lives in: one that serves whoever connects, or a script that has it for itself."""


class AlreadyRunning(EngineError):
    """Another engine of this user is there, or just starting."""


class Holder(NamedTuple):
    """The process of the engine that is there."""

    pid: int
    """0 while it has not said."""
    host: Host = "service"


class EngineLock:
    """Held from `take` to `release`."""

    def __init__(self, paths: Paths, host: Host = "service") -> None:
        self._paths: Final = paths
        self._host: Final = host
        self._held: Final[dict[Path, int]] = {}

    def take(self) -> None:
        """Be the only engine of these paths. Where folders or files were taken away since, they are made anew. Raises
        AlreadyRunning, PathRefused."""
        make_folders(self._paths)
        is_first = not self._held
        try:
            if (
                is_first and self._paths.service == "engine" and answers(self._paths.socket)
            ):  # one of an earlier version
                raise AlreadyRunning(f"an engine already listens at {self._paths.socket}; {_WAYS_ON}")
            for path in self.lost:
                self._take(path)
        except BaseException:
            if is_first:
                self.release()
            raise

    @property
    def lost(self) -> list[Path]:
        """Its files that no longer have their names, by which others find that it is taken."""
        files = _files(self._paths)
        return [path for path in files if path not in self._held or not _is_there(path, self._held[path])]

    def release(self) -> None:
        for descriptor in self._held.values():
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that was forked meanwhile may have the descriptor, too
            os.close(descriptor)
        self._held.clear()

    def _take(self, path: Path) -> None:
        descriptor = self._locked(path)
        if (lost := self._held.pop(path, None)) is not None:
            os.close(lost)
        self._held[path] = descriptor
        with contextlib.suppress(
            OSError
        ):  # on a full disk the lock holds all the same, and only who holds it is not known
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {self._host}\n".encode(), 0)

    def _locked(self, path: Path) -> int:
        """A descriptor of the file, with the lock."""
        while True:
            try:
                descriptor = only_files(str(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
            except OSError as error:
                raise EngineError(f"{path} can't be opened: {error.strerror}; {_ANOTHER_HOME}") from error
            try:
                if not _lock(descriptor):
                    raise AlreadyRunning(_running_words(self._paths))
                if _is_there(path, descriptor):  # else somebody has taken the file away just then
                    return os.dup(descriptor)
            except OSError as error:
                raise EngineError(f"{path} can't be locked: {error.strerror}; {_ANOTHER_HOME}") from error
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def sole_engine(paths: Paths, host: Host = "service") -> Iterator[EngineLock]:
    """Be the only engine of these paths while inside. Raises AlreadyRunning, PathRefused."""
    lock = EngineLock(paths, host)
    try:
        lock.take()
        yield lock
    finally:
        lock.release()


def holder(paths: Paths) -> Holder | None:
    """The engine that holds the lock; None when there is none. Raises PathRefused for a run folder that is not ours alone."""
    if os.path.lexists(paths.run):
        require_private(paths.run)
    # On a full disk only one of the files may say whose it is.
    return max(filter(None, map(_holder, _files(paths))), default=None)


def signal_holder(paths: Paths, found: Holder, number: signal.Signals) -> bool:
    """Send a signal to the engine's process. Not where that holds no lock any more, or can't be told, as from another container:
    nobody is ended for a number in a file."""
    if found.pid in (0, os.getpid()):
        return False
    try:
        process = os.pidfd_open(found.pid)
    except OSError:
        return False
    try:
        if not _holds(found.pid, _files(paths)):
            return False
        signal.pidfd_send_signal(process, number)
    except OSError:
        return False
    finally:
        os.close(process)
    return True


def script_words(found: Holder) -> str:
    """Of a script's own engine, to whoever would have used or started one."""
    return (
        f"a script (process {found.pid}) has an engine of its own on these devices, which nobody else can use; end it, and run "
        f"`citadel serve` first: all scripts share that one. Or {_ANOTHER_HOME}"
    )


def answers(path: Path) -> bool:
    """Whether somebody listens at the socket, be it only to hang."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWERS_WITHIN_S)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except (TimeoutError, BlockingIOError):  # so many wait there already
            return True
        return True


def _files(paths: Paths) -> tuple[Path, Path]:
    name = f"{paths.service}.lock"
    return paths.state / name, paths.run / name


def _running_words(paths: Paths) -> str:
    found = holder(paths) or Holder(0)
    if paths.service == "fleet":
        return f"the fleet's service is already running for {paths.state} (process {found.pid}); end that one first"
    if found.host == "script":
        return script_words(found)
    return f"an engine is already running for {paths.state} (process {found.pid}); {_WAYS_ON}"


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the file that was opened still has this name."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:  # whoever can't find it there finds no lock, whatever is in the way
        return False


def _lock(descriptor: int) -> bool:
    """Whether the lock is ours now. It is tried more than once, since a look by `holder` holds it for a moment."""
    for _attempt in range(3):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOOK_S)
    return False


def _holder(path: Path) -> Holder | None:
    try:
        descriptor = only_files(str(path), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # what can't be opened so is no lock of ours
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, host = os.pread(descriptor, _MOST_BYTES, 0).decode(errors="replace").strip().partition(" ")
        return Holder(int(pid) if pid.isascii() and pid.isdigit() else 0, "script" if host == "script" else "service")
    finally:
        os.close(descriptor)
    return None


def _holds(pid: int, files: Iterable[Path]) -> bool:
    """Whether the process has one of the files open."""
    locks = [path.lstat() for path in files if path.exists()]
    with os.scandir(f"/proc/{pid}/fd") as descriptors:
        for one in descriptors:
            with contextlib.suppress(OSError):  # it may close one meanwhile
                if any(os.path.samestat(os.stat(one.path), lock) for lock in locks):
                    return True
    return False
