"""Times in a line: the middle one, the late ones, the latest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median

from engine.core.ranks import nearest_rank


def say_timings(what: str, seconds: Sequence[float]) -> None:
    """Print them as milliseconds."""
    middle, late, most = (1e3 * each for each in (median(seconds), nearest_rank(seconds, 0.99), max(seconds)))
    sys.stdout.write(f"{what}: median {middle:.2f} ms, p99 {late:.2f}, most {most:.2f}, of {len(seconds)}\n")
    sys.stdout.flush()
