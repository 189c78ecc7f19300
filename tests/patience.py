"""How long a test waits for what may never come: counted in what the machine could have done, not in what a clock says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 20.0
"""For one thing that a test waits for, where it can say more of a vain wait than pytest's timeout does."""
_LOAD: Final = Path("/proc/loadavg")


def crowding() -> float:
    """How many times longer than alone whatever computes takes now: those that want a core, for each core; at least 1."""
    lately, _, _, now, _ = _LOAD.read_text().split()
    wanting = max(float(lately), float(now.partition("/")[0]))
    return max(1.0, wanting / len(os.sched_getaffinity(0)))


class Patience:
    """So many seconds of a machine that has a core for everybody: with three times the work it lasts three times as long."""

    def __init__(
        self,
        seconds: float = PATIENCE_S,
        *,
        crowding: Callable[[], float] = crowding,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left_s = seconds
        self._crowding: Final = crowding
        self._clock: Final = clock
        self._looked_s = clock()

    def left_s(self) -> float:
        """What is left of it now, 0 when it has run out; it takes at least that long to do so."""
        now_s = self._clock()
        self._left_s -= (now_s - self._looked_s) / self._crowding()
        self._looked_s = now_s
        return max(0.0, self._left_s)

    def __bool__(self) -> bool:
        """Whether there is any left."""
        return self.left_s() > 0
