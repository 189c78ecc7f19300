"""A machine on which others are at work: what the tests run beside with --loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOOPS_PER_CORE: Final = 2
_LOOP: Final = "import os, sys\nparent = int(sys.argv[1])\nwhile os.getppid() == parent:\n    pass"
"""Ends with whom it was started by, however that ends."""


@contextmanager
def busy_loops() -> Iterator[list[int]]:
    """Twice as many as there are cores, while inside; their process ids."""
    command = [sys.executable, "-S", "-c", _LOOP, str(os.getpid())]
    loops = [subprocess.Popen(command) for _ in range(LOOPS_PER_CORE * len(os.sched_getaffinity(0)))]
    try:
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()
