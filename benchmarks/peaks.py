"""How much more memory processes took at once than they held before, as the kernel kept count."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

_RESET_PEAK: Final = "5"
"""To /proc/PID/clear_refs: the highest resident size is counted anew."""


class PeakRise:
    """Counts from its making. Pages that several processes map count for each of them, so that the sum is an upper bound."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._before: Final = {}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
            self._before[pid] = _status_bytes(pid, "VmRSS")

    def size_bytes(self) -> int:
        """The sum over the processes of each one's highest size less its first."""
        return sum(max(0, _status_bytes(pid, "VmHWM") - before) for pid, before in self._before.items())


def _status_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))
