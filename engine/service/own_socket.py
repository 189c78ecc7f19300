"""The socket that the engine listens at: claimed, looked after for as long as the engine lives, and taken away with it.

Who cleans /tmp, or empties the run folder, would leave an engine that nobody can reach. So each second it is looked whether
folder, locks and socket are there, and what is not is made anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from engine.api import EngineError
from engine.lock import AlreadyRunning, EngineLock, answers

_LOOK_S: Final = 1.0

_log: Final = logging.getLogger(__name__)


class OwnSocket:
    """Where `runner` answers."""

    def __init__(self, path: Path, runner: web.AppRunner, lock: EngineLock) -> None:
        self._path: Final = path
        self._runner: Final = runner
        self._lock: Final = lock
        self._site: web.SockSite | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._identity: tuple[int, ...] | None = None
        """Of the file that stands for the socket."""

    async def open(self, on_lost: Callable[[], None]) -> None:
        """Listen from now on, and see to it that the engine can be reached and stays the only one; `on_lost` hears when another
        has taken its place. Raises AlreadyRunning where somebody else listens, OSError."""
        await self._listen()
        self._keeping = asyncio.create_task(self._keep(on_lost), name="own socket")

    def close(self) -> None:
        """Take it away, but never another engine's. The runner's clean-up ends what is said over it."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._is_in_place:
            self._path.unlink(missing_ok=True)

    async def _listen(self) -> None:
        listening = claim_socket(self._path)
        before, self._site = self._site, web.SockSite(self._runner, listening)
        self._identity = _identity(self._path)
        await self._site.start()
        if before is not None:
            await before.stop()

    async def _keep(self, on_lost: Callable[[], None]) -> None:
        trouble = ""
        while True:
            await asyncio.sleep(_LOOK_S)
            lost = [*self._lock.lost, *([] if self._is_in_place else [self._path])]
            if not lost:
                continue
            try:
                before, trouble = trouble, await self._make_anew()
            except AlreadyRunning as error:
                _log.critical("the engine ends: it is not the only one any more (%s)", error)
                on_lost()
                return
            if not trouble:
                _log.warning("somebody took away %s; made anew", " and ".join(map(str, lost)))
            elif not before:
                suffers = "the engine's lock is gone" if self._is_in_place else "nobody can reach the engine"
                _log.error("%s: %s; it is tried again each second", suffers, trouble)

    async def _make_anew(self) -> str:
        """Why that can't be done now; else empty. Raises AlreadyRunning when another engine has the lock."""
        try:
            self._lock.take()
            if not self._is_in_place:
                if answers(self._path):
                    return f"somebody else listens at {self._path}"
                await self._listen()
        except AlreadyRunning:
            raise
        except (EngineError, OSError) as error:
            return str(error)
        return ""

    @property
    def _is_in_place(self) -> bool:
        return self._identity is not None and _identity(self._path) == self._identity


def claim_socket(path: Path) -> socket.socket:
    """A socket that is bound to `path`; what a dead engine left there is cleared away. Raises AlreadyRunning for a live one."""
    if answers(path):
        raise AlreadyRunning(
            f"an engine already listens at {path}; attach with `citadel`, or end it with `citadel stop`"
        )
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(umask)
    return listening


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    # Its time as well: the number of a file that is gone is soon another's.
    return found.st_dev, found.st_ino, found.st_mtime_ns
