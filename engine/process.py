"""The engine's process, seen from outside: whether one is there, and starting one that outlives its starter, watched until it
answers or has died. It holds a lock on one file for its whole life, so the kernel knows of it even after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from engine.api import EngineError, EngineUnreachable
from engine.child_environment import child_environment
from engine.client import connect
from engine.core.serialization import Undecodable, from_json
from engine.paths import Paths, make_folders
from engine.transport import NoEngine
from engine.wire import StartReport

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
        said = os.pread(descriptor, 20, 0).strip()
        return int(said) if said.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def _lock_file(paths: Paths) -> Path:
    return paths.run / "engine.lock"


ENGINE_PROGRAM: Final = ("-P", "-m", "engine.service")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""
_LOG_LIMIT_BYTES: Final = 4 << 20
_LAST_WORDS_BYTES: Final = 2000
_POLL_S: Final = 0.05
_STOP_DEADLINE_S: Final = 20.0


class StartFailed(EngineError):
    """The engine's process ended before it answered."""


async def ensure_engine(
    paths: Paths, config: Path, program: Sequence[str] = ENGINE_PROGRAM
) -> Literal["attached", "started"]:
    """See to it that an engine answers at `paths`; `config` counts only when one must be started. Raises StartFailed."""
    try:
        await (await connect(paths)).close()
    except NoEngine:
        if running_pid(paths) is None:
            return await _start(paths, config, program)
        await _until_it_answers(paths)
    return "attached"


async def wait_until_gone(paths: Paths) -> None:
    """Returns when no engine process holds these paths any more. Raises EngineUnreachable when it takes too long."""
    try:
        async with asyncio.timeout(_STOP_DEADLINE_S):
            while running_pid(paths) is not None:  # noqa: ASYNC110 - another process's end sets no event of ours
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise EngineUnreachable(
            f"the engine (process {running_pid(paths)}) was asked to end but is still there after {_STOP_DEADLINE_S:g} s; "
            f"its log is {paths.log}"
        ) from None


async def _start(paths: Paths, config: Path, program: Sequence[str]) -> Literal["attached", "started"]:
    make_folders(paths)
    written_bytes = _trim_log(paths.log)
    receiving, sending = os.pipe()
    try:
        pid = _spawn(paths.log, [*program, "--config", str(config)], sending)
    finally:
        os.close(sending)
    # Read until the pipe's end: an engine that dies without a word closes it too, so nobody waits for a timeout to learn that.
    report = await _read_report(receiving)
    if report is not None and report.ready:
        return "started"
    _reap(pid)
    if running_pid(paths) is not None:  # another starter was faster, and ours gave way
        await _until_it_answers(paths)
        return "attached"
    raise StartFailed(report.message if report else _last_words(paths.log, written_bytes))


def _spawn(log: Path, arguments: Sequence[str], report_fd: int) -> int:
    """The new process's id; its working folder is ours, where `.env` may be."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_DUP2, report_fd, 3),
    ]
    command = [sys.executable, *arguments, "--report-fd", "3"]
    return os.posix_spawn(sys.executable, command, child_environment(), file_actions=actions, setsid=True)


async def _read_report(descriptor: int) -> StartReport | None:
    """What the process reports, or None when it ended without a word."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, _protocol = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        body = await reader.read(-1)
    finally:
        transport.close()
    with contextlib.suppress(Undecodable):
        return from_json(body, StartReport)
    return None


async def _until_it_answers(paths: Paths) -> None:
    """Wait while an engine process is there but not yet listening. Raises StartFailed when it goes instead."""
    while running_pid(paths) is not None:
        with contextlib.suppress(NoEngine):
            await connect(paths)
            return
        await asyncio.sleep(_POLL_S)
    raise StartFailed(f"the engine that was starting has ended; its log is {paths.log}")


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _trim_log(log: Path) -> int:
    """Bytes in the log now; a long one is put aside first, the one before it dropped."""
    try:
        size_bytes = log.stat().st_size
    except FileNotFoundError:
        return 0
    if size_bytes < _LOG_LIMIT_BYTES:
        return size_bytes
    log.replace(log.with_suffix(".log.1"))
    return 0


def _last_words(log: Path, from_byte: int) -> str:
    """The end of what the process logged since `from_byte`."""
    with log.open("rb") as file:
        file.seek(max(from_byte, log.stat().st_size - _LAST_WORDS_BYTES))
        said = file.read().decode("utf-8", "replace").strip()
    return f"the engine ended while it started; {log} says:\n{said or '(nothing)'}"
