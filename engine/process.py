"""The engine's process, seen from outside: starting one that outlives its starter, watched until it answers or has died, and
ending one, also when it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from engine.api import EngineError, EngineUnreachable
from engine.child_environment import child_environment
from engine.client import RemoteEngine, connect
from engine.core.serialization import Undecodable, from_json
from engine.lock import AlreadyRunning, Holder, holder, script_words, signal_holder
from engine.paths import Paths, make_folders
from engine.transport import EngineHangs, NoEngine
from engine.wire import StartReport

ENGINE_PROGRAM: Final = ("-P", "-m", "engine.service")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""
_LOG_LIMIT_BYTES: Final = 4 << 20
_LAST_WORDS_BYTES: Final = 2000
_POLL_S: Final = 0.05
_STOP_DEADLINE_S: Final = 20.0
_START_DEADLINE_S: Final = 120.0


class StillThere(EngineUnreachable):
    """The engine was told to end, and has not."""


class StartFailed(EngineError):
    """The engine's process ended before it answered, or does not answer."""


async def ensure_engine(
    paths: Paths, config: Path | None, program: Sequence[str] = ENGINE_PROGRAM
) -> Literal["attached", "started"]:
    """See to it that an engine answers at `paths`; `config` counts only when one must be started, and is None for a program that
    knows where its own is. Raises StartFailed, AlreadyRunning for a script's own engine."""
    try:
        await (await connect(paths)).close()
    except NoEngine:
        if holder(paths) is None:
            return await _start(paths, config, program)
        await until_it_answers(paths)
    return "attached"


async def until_it_answers(paths: Paths) -> RemoteEngine:
    """The engine whose process is there but may not listen yet. Raises StartFailed when it goes instead, AlreadyRunning where it
    is a script's own."""
    try:
        async with asyncio.timeout(_START_DEADLINE_S):
            while found := holder(paths):
                if found.host == "script":
                    raise AlreadyRunning(script_words(found))
                with contextlib.suppress(NoEngine):
                    return await connect(paths)
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StartFailed(
            f"the engine that was starting does not listen after {_START_DEADLINE_S:g} s; its log is {paths.log}. End it with "
            "`citadel stop`"
        ) from None
    raise StartFailed(f"the engine that was starting has ended; its log is {paths.log}")


# ── its end ──────────────────────────────────────────────────────────────────────────────────────


async def end_engine(paths: Paths, *, now: bool, tell: Callable[[str], None]) -> None:
    """Have the engine end: in order where it answers, else by force; `tell` hears what goes beyond asking. Returns when it is
    gone. Raises EngineUnreachable where there is none, and where nothing ends it."""
    found = holder(paths)
    try:
        async with asyncio.timeout(_STOP_DEADLINE_S if now else None):
            await RemoteEngine(paths.socket).stop(now=now)
        await _until_gone(paths, found)
    except NoEngine:
        if found is None:
            raise
        if found.host == "script":
            raise EngineUnreachable(script_words(found)) from None
        await _end_unheard(paths, found, tell)
    except EngineHangs:
        await _kill(paths, found, "the engine does not answer", tell)
    except TimeoutError:
        await _kill(paths, found, f"the engine has not ended within {_STOP_DEADLINE_S:g} s", tell)
    except StillThere as still:
        await _kill(paths, found, str(still), tell)


async def wait_until_gone(paths: Paths) -> None:
    """Returns when no engine process holds these paths any more. Raises StillThere when it takes too long."""
    await _until_gone(paths, holder(paths))


async def _until_gone(paths: Paths, found: Holder | None) -> None:
    """Whoever holds the lock by now may be the next one, which a service manager has started."""
    try:
        async with asyncio.timeout(_STOP_DEADLINE_S):
            while found is not None and holder(paths) == found:  # noqa: ASYNC110 - another process's end sets no event of ours
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StillThere(f"the engine was told to end and is still there after {_STOP_DEADLINE_S:g} s") from None


async def _end_unheard(paths: Paths, found: Holder, tell: Callable[[str], None]) -> None:
    """It listens nowhere: it starts or ends just now, or somebody took its socket away."""
    if not signal_holder(paths, found, signal.SIGTERM):
        await _kill(paths, found, "the engine does not listen", tell)
        return
    tell(f"the engine (process {found.pid}) does not listen; it was told by a signal to end")
    try:
        await _until_gone(paths, found)
    except StillThere as still:
        await _kill(paths, found, str(still), tell)


async def _kill(paths: Paths, found: Holder | None, why: str, tell: Callable[[str], None]) -> None:
    if found is None or not signal_holder(paths, found, signal.SIGKILL):
        if holder(paths) is None:
            return
        raise EngineUnreachable(f"{why}, and which process it is can't be told: nothing was ended; end it by hand")
    tell(f"{why}; its process, {found.pid}, was killed. Its log is {paths.log}; models come back when an engine starts")
    await _until_gone(paths, found)


# ── its start ────────────────────────────────────────────────────────────────────────────────────


async def _start(paths: Paths, config: Path | None, program: Sequence[str]) -> Literal["attached", "started"]:
    make_folders(paths)
    written_bytes = _trim_log(paths.log)
    receiving, sending = os.pipe()
    try:
        pid = _spawn(paths.log, [*program, *(() if config is None else ("--config", str(config)))], sending)
    finally:
        os.close(sending)
    # Read until the pipe's end: an engine that dies without a word closes it too, so nobody waits for a timeout to learn that.
    report = await _read_report(receiving)
    if report is not None and report.ready:
        return "started"
    _reap(pid)
    if holder(paths) is not None:  # another starter was faster, and ours gave way
        await until_it_answers(paths)
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
