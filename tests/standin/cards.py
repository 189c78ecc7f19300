"""The stand-in's cards as a test looks at them and changes them while they are used, through `standin-ctl`."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

STATE: Final = "STANDIN_STATE"
EVER: Final = 1 << 40
LAUNCH_FAILURE: Final = 719
"""`cudaErrorLaunchFailure`, after which a context is of no more use."""


BUSY: Final = 46
"""`cudaErrorDevicesUnavailable`, which passes."""


class Card(Struct, frozen=True):
    """One card."""

    total_bytes: int
    used_bytes: int
    outside_bytes: int
    """Of that, by nobody whom the driver could name."""
    failure: int
    asks: int
    """How often memory was asked for since `refuse`, of the card or locked for it."""


class Process(Struct, frozen=True):
    """One process that uses the cards."""

    pid: int
    launches: int
    copied_bytes: int
    locked_bytes: int
    stale_copies: int
    """Of pages that were replaced while they were locked: each is a defect."""
    used_bytes: tuple[int, ...]
    """Of each card."""


class Cards(Struct, frozen=True):
    """The cards of the state file that STANDIN_STATE names when this is made."""

    state: str = msgspec.field(default_factory=lambda: os.environ[STATE])

    def card(self, index: int) -> Card:
        return self._control("show").cards[index]

    def processes(self) -> tuple[Process, ...]:
        """Those that hold memory or have held some, and live."""
        return self._control("show").processes

    def wait_for_copy(self, pid: int, length: int) -> None:
        """Wait until the process has begun to copy so many bytes, in all of its life."""
        while not any(process.pid == pid and process.copied_bytes >= length for process in self.processes()):
            time.sleep(0.005)

    def outside(self, index: int, taken_bytes: int) -> None:
        """Somebody else takes so much of the card."""
        self._control("outside", str(index), str(taken_bytes))

    def fail(self, index: int, error: int = LAUNCH_FAILURE) -> None:
        """Every call to the card answers with the error; with 0 none does any more."""
        self._control("fail", str(index), str(error))

    def slow(self, index: int, kb_per_s: int) -> None:
        """Copies to and from the card are so slow; with 0 as fast as the host."""
        self._control("copy", str(index), str(kb_per_s))

    def reset(self) -> None:
        """Nobody else takes memory, and nothing fails."""
        for index in range(len(self._control("show").cards)):
            self.outside(index, 0)
            self.fail(index, 0)
            self.slow(index, 0)
            self.refuse(index, first=0)

    def refuse(self, index: int, first: int, times: int = 1) -> None:
        """Of the times that memory is asked for from now on, refuse number `first`, counted from 1, and those after it,
        `times` in all. With 0 none is refused, and they are counted."""
        self._control("refuse", str(index), str(first), str(times))

    def _control(self, *arguments: str) -> _Shown:
        (folder,) = [f for f in os.environ["LD_LIBRARY_PATH"].split(os.pathsep) if (Path(f) / "standin-ctl").exists()]
        command = [str(Path(folder) / "standin-ctl"), *arguments]
        done = subprocess.run(command, env=os.environ | {STATE: self.state}, capture_output=True, check=True)
        return msgspec.json.decode(done.stdout, type=_Shown)


class _Shown(Struct, frozen=True):
    cards: tuple[Card, ...]
    processes: tuple[Process, ...]
