"""What the engine's process does at its start so that its event loop is prompt beside threads that copy gigabytes.

Kept apart: benchmarks measure an engine in a process of their own, which does the same and has no use for a server.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import struct
from typing import Final

TURN_NS: Final = 100_000
"""The shortest that Linux grants."""
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, which C libraries wrap only of late."""
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period: `struct sched_attr` of sched_setattr(2), version 0."""
_RESET_ON_FORK: Final = 1
"""New threads and processes have ordinary turns."""


def ask_for_short_turns() -> bool:
    """Whether the calling thread has been granted them. Its share of the processor stays the same, but it is let in before
    threads whose turns are longer. Linux 6.12 and newer heed it, older ones nod, other systems don't know it."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or platform.system() != "Linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, TURN_NS, 0, 0)
    failed: int = ctypes.CDLL(None).syscall(number, 0, attributes, 0)
    return failed == 0


def keep_loop_prompt() -> None:
    """For the calling thread, once everything is imported: short turns, and no garbage collection of what was imported, for which
    nothing would be answered for milliseconds."""
    ask_for_short_turns()
    gc.freeze()
