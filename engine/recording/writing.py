"""Writes what is recorded in a task of its own, so that nothing that is recorded waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from engine.recording.files import NotWritten

_Entry = TypeVar("_Entry")


class Writer(Generic[_Entry]):
    """Hands entries to `append` in order. What can't be written is lost; that is told once, until writing works again."""

    def __init__(self, append: Callable[[_Entry], Awaitable[None]], tell: Callable[[str], None]) -> None:
        self._append = append
        self._tell = tell
        self._unwritten: asyncio.Queue[_Entry] = asyncio.Queue()
        self._broken = False

    def put(self, entry: _Entry) -> None:
        """Have `entry` written soon."""
        self._unwritten.put_nowait(entry)

    async def run(self) -> None:
        """Write entries as they come, until cancelled."""
        while True:
            await self._write(await self._unwritten.get())
            self._unwritten.task_done()

    async def written(self) -> None:
        """Wait until `run`, which must be running, has written everything."""
        await self._unwritten.join()

    async def _write(self, entry: _Entry) -> None:
        try:
            await self._append(entry)
            self._broken = False
        except NotWritten as trouble:
            if not self._broken:
                self._broken = True
                self._tell(str(trouble))
