"""The engine of another machine at a socket of this one, brought by the user's own ssh, with its keys and its names of hosts."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from engine.api import EngineUnreachable
from engine.core.texts import in_brief
from engine.paths import SOCKET_IN_SHELL, SOCKET_PATH_LIMIT_BYTES, PathRefused, Paths, make_folders

_OPTIONS: Final = (
    "BatchMode=yes",  # nobody is there to type a password
    "ConnectTimeout=5",
    "ServerAliveInterval=1",
    "ServerAliveCountMax=3",
    "ControlMaster=no",  # what is forwarded over a shared connection would outlive us, and end with somebody else's
    "ControlPath=none",
)
_FORWARDING: Final = ("ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "StreamLocalBindMask=0177")
_LISTENS_WITHIN_S: Final = 20.0
_ENDS_WITHIN_S: Final = 3.0
_LOOK_S: Final = 0.02
_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_LAST_WORDS_BYTES: Final = 2000

_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


@contextlib.asynccontextmanager
async def forwarded(host: str, paths: Paths, remote: str = "") -> AsyncIterator[Path]:
    """A socket in a folder of our own behind which the engine of `host` answers, while inside. `host` is what ssh calls it;
    `remote` the socket there, which is asked for where it is left out. An ssh that ends is started again, and none outlives us.
    Raises EngineUnreachable in ssh's own words where the first one gets nowhere, PathRefused."""
    if not host or host.startswith("-") or not host.isprintable():
        raise EngineUnreachable(f"{in_brief(host, 40) or 'an empty name'} is no host that ssh could reach")
    far = _checked(remote or await _far_socket(host), host)
    make_folders(paths)
    folder = Path(tempfile.mkdtemp(prefix="ssh-", dir=paths.run))  # 0700
    try:
        near = folder / "s"
        if len(os.fsencode(near)) > SOCKET_PATH_LIMIT_BYTES or ":" in str(near):
            raise PathRefused(
                f"{near} can't be the socket of a forward: it has a colon, or more than {SOCKET_PATH_LIMIT_BYTES} bytes. Set"
                " CITADEL_HOME to another folder."
            )
        forward = _Forward(host, near, far)
        try:
            await forward.start()
            keeping = asyncio.create_task(forward.keep(), name=f"ssh to {host}")
            try:
                yield near
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
        finally:
            await forward.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Ssh:
    """A process of ssh, and the last that it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process: Final = process
        self._said = b""
        self._listening: Final = asyncio.create_task(self._listen())

    async def ended(self) -> str:
        """Its last words, once it has ended."""
        await asyncio.shield(self._listening)
        await self.process.wait()
        lines = self._said.decode(errors="replace").split("\n")
        return in_brief(next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing"), 200)

    async def end(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                async with asyncio.timeout(_ENDS_WITHIN_S):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
        await self.ended()

    async def _listen(self) -> None:
        """It would stand still if nobody read."""
        assert self.process.stderr is not None
        while said := await self.process.stderr.read(_LAST_WORDS_BYTES):
            self._said = (self._said + said)[-_LAST_WORDS_BYTES:]


class _Forward:
    """From the socket `near` to the one that is `far`, by one ssh after the other."""

    def __init__(self, host: str, near: Path, far: str) -> None:
        self._host: Final = host
        self._near: Final = near
        self._far: Final = far
        self._ssh: _Ssh | None = None

    async def start(self) -> None:
        """Returns when it listens. Raises EngineUnreachable."""
        _clear(self._near)  # an ssh that was killed leaves it
        line = f"{self._near}:{self._far}"
        self._ssh = ssh = await _started(*_options(*_OPTIONS, *_FORWARDING), "-N", "-L", line, "--", self._host)
        try:
            async with asyncio.timeout(_LISTENS_WITHIN_S):
                while not _listens(self._near):
                    if ssh.process.returncode is not None:
                        raise EngineUnreachable(f"ssh {self._host} ended: {await ssh.ended()}")
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            why = f"ssh {self._host} has brought no connection within {_LISTENS_WITHIN_S:g} s"
            raise EngineUnreachable(why) from None

    async def keep(self) -> None:
        """Start another whenever one ends. Whoever calls meanwhile is told that nobody listens."""
        pause_s = _PAUSE_S
        while self._ssh is not None:
            await self._ssh.ended()
            await asyncio.sleep(pause_s)
            try:
                await self.start()
                pause_s = _PAUSE_S
            except EngineUnreachable:
                await self._ssh.end()
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def end(self) -> None:
        if self._ssh is not None:
            await self._ssh.end()


async def _far_socket(host: str) -> str:
    """Where the engine of `host` listens, by its own word. Raises EngineUnreachable."""
    ssh = await _started(*_options(*_OPTIONS), "--", host, SOCKET_IN_SHELL, output=asyncio.subprocess.PIPE)
    assert ssh.process.stdout is not None
    try:
        async with asyncio.timeout(_LISTENS_WITHIN_S):
            said = await ssh.process.stdout.read()
            why = await ssh.ended()
    except TimeoutError:
        raise EngineUnreachable(f"ssh {host} has not answered within {_LISTENS_WITHIN_S:g} s") from None
    finally:
        await ssh.end()
    if ssh.process.returncode:
        raise EngineUnreachable(f"ssh {host} ended: {why}")
    # A login may greet first.
    return said.decode(errors="replace").strip().rpartition("\n")[2]


def _clear(near: Path) -> None:
    near.unlink(missing_ok=True)


def _listens(near: Path) -> bool:
    """Whether somebody does; the name is there a moment before."""
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(str(near))
        except OSError:
            return False
        return True


def _checked(far: str, host: str) -> str:
    """The socket there, if ssh can be told of it. Raises EngineUnreachable."""
    if not far.startswith("/") or ":" in far or not far.isprintable() or len(far.encode()) > SOCKET_PATH_LIMIT_BYTES:
        raise EngineUnreachable(
            f"{host} says that its engine's socket is {in_brief(far, 80) or 'nowhere'}: that is no absolute path without colons"
            f" of at most {SOCKET_PATH_LIMIT_BYTES} bytes"
        )
    return far


async def _started(*arguments: str, output: int = asyncio.subprocess.DEVNULL) -> _Ssh:
    """Raises EngineUnreachable where there is no ssh."""
    quiet, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh",
            *arguments,
            stdin=quiet,
            stdout=output,
            stderr=pipe,
            start_new_session=True,  # Ctrl+C in the terminal is for us, not for it
            preexec_fn=end_with_parent,
        )
    except OSError as error:
        raise EngineUnreachable(f"ssh can't be started here: {error.strerror}; install an OpenSSH client") from None
    return _Ssh(process)


def end_with_parent() -> None:
    """Also where that is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _options(*options: str) -> list[str]:
    return [word for option in options for word in ("-o", option)]
