"""Who is resident and who is pinned, kept over restarts: one small file that always says the newest, replaced whole and synced.

It is state, and no line among others: a journal is rotated, and a line that found no room is lost. What can't be written here is
written again until it is on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from engine.api import Answer, Done, Failed
from engine.clock import Clock
from engine.core.plans import PinStep, UnpinStep
from engine.core.records import Residency
from engine.core.serialization import Undecodable, from_sealed_json, to_sealed_json
from engine.whole_file import put_aside, read_whole, write_whole

_VERSION: Final = 1
_MOST_BYTES: Final = 64 << 20
AGAIN_S: Final = 2.0
"""Between two attempts to write what could not be written."""


class _File(Struct, frozen=True):
    version: int
    residency: Residency


class KeptResidency(NamedTuple):
    """What the file says."""

    residency: Residency | None
    """None where nothing is known."""
    is_there: bool
    """Whether an engine that keeps this file has run here before."""
    warning: str = ""
    """Why nothing is known, when there was something to know."""


class ResidencyFile:
    """Read once, then written by `run` whenever there is something newer."""

    def __init__(self, path: Path, clock: Clock, tell: Callable[[str], None]) -> None:
        """`tell` hears that the file can't be written, once until it can be again."""
        self._path: Final = path
        self._clock: Final = clock
        self._tell: Final = tell
        self._newest: Residency | None = None
        self._puts = 0
        self._tried = 0
        """How many of the puts have been tried to be written, in vain or not."""
        self._trouble = ""
        """Why the newest that was tried is not on the disk."""
        self._has_ended = False
        self._is_new: Final = asyncio.Event()
        self._attempt = asyncio.Event()
        """Set, and replaced by another, with each attempt."""

    def read(self) -> KeptResidency:
        """What was kept. A file that can't be understood is put aside, and the warning says so."""
        try:
            found: _File = from_sealed_json(read_whole(self._path, _MOST_BYTES), _File)
        except FileNotFoundError:
            return KeptResidency(None, is_there=False)
        except (OSError, Undecodable) as error:
            return self._lost(str(error))
        if found.version != _VERSION:
            return self._lost(f"it is of version {found.version}, not {_VERSION}")
        return KeptResidency(found.residency, is_there=True)

    def put(self, residency: Residency) -> None:
        """Have this in the file soon."""
        self._newest = residency
        self._puts += 1
        self._is_new.set()

    async def durable(self, answer: Answer) -> Answer:
        """What is answered as done stays done: where it changed pins, they are on the disk by now, or the answer says that they
        are not."""
        changes_pins = isinstance(answer, Done) and any(isinstance(s, PinStep | UnpinStep) for s in answer.plan.steps)
        if not changes_pins or not (trouble := await self.kept()):
            return answer
        return Failed(f"{trouble}. Make room, or let it be written, and it is kept within seconds", holds=True)

    async def kept(self) -> str:
        """Wait until all that was put is on the disk, or one more attempt of `run`, which must be running, was in vain; why it is
        not there, in words, else empty. It is tried again all the same."""
        wanted = self._puts = self._puts + bool(self._trouble)
        while self._tried < wanted and not self._has_ended:
            await self._attempt.wait()
        return self._trouble if self._tried >= wanted else self._unkept("the engine has ended")

    async def run(self) -> None:
        """Write what is put, until cancelled."""
        try:
            while True:
                await self._is_new.wait()
                self._is_new.clear()
                await self._write()
                if self._trouble:
                    self._is_new.set()
                    await self._clock.sleep(AGAIN_S)
        finally:
            self._has_ended = True
            self._attempted(self._tried, self._trouble)

    async def _write(self) -> None:
        assert self._newest is not None
        puts, content, trouble = self._puts, to_sealed_json(_File(_VERSION, self._newest)), ""
        try:
            await asyncio.to_thread(lambda: write_whole(self._path, content))
        except OSError as error:
            trouble = self._unkept(error.strerror or str(error))
            if not self._trouble:
                self._tell(f"{trouble}; it is tried again until there is room")
        self._attempted(puts, trouble)

    def _attempted(self, puts: int, trouble: str) -> None:
        self._tried, self._trouble = puts, trouble
        ended, self._attempt = self._attempt, asyncio.Event()
        ended.set()

    def _unkept(self, why: str) -> str:
        return f"{self._path} can't be written: {why}; who is resident and pinned is not kept over a restart"

    def _lost(self, why: str) -> KeptResidency:
        costs = "nobody is loaded again and pins are the catalog's"
        return KeptResidency(None, True, f"{self._path} can't be read ({why}); {costs}, {put_aside(self._path)}")
