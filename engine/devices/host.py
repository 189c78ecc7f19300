"""The host's own memory, which the CPU device, the RAM tier and the virtual GPUs are slices of: what the machine has, or what the
control groups of a container or a service leave of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.sizes import MIB
from engine.devices.control_groups import MemoryLimit, memory_limits

SPARED_BYTES: Final = 192 * MIB
"""Of what is available, no budget counts on so much: worker processes grow with their first runs, and so does the engine."""


class HostMemory(Struct, frozen=True):
    total_bytes: int
    """What there is for us and all others: the machine's, or the smallest limit of a control group."""
    available_bytes: int
    """What could be taken without swapping, as the kernel estimates it, and within every limit."""
    limit: MemoryLimit | None = None
    """The smallest one, where it is less than the machine has."""

    @property
    def all_of_it(self) -> str:
        """Who says that there is not more: what follows on the figure."""
        limit = self.limit
        return f"the memory limit in {limit.group}/{limit.file}" if limit else "which is all that this host has"


def read_host_memory(root: Path = Path("/")) -> HostMemory:
    """The kernel's figures, read anew each time: limits change while we run. `root` stands for `/`. Raises OSError or ValueError
    where there is no /proc/meminfo, or none that can be read; limits that can't be read count as none."""
    meminfo = root / "proc/meminfo"
    figures = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    try:
        total_kib, available_kib = (int(figures[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    except (KeyError, IndexError) as error:
        raise ValueError(f"{meminfo} does not say {error}") from None
    total_bytes, available_bytes = total_kib << 10, available_kib << 10
    limits = [limit for limit in memory_limits(root) if limit.limit_bytes < total_bytes]
    smallest = min(limits, key=lambda limit: limit.limit_bytes, default=None)
    return HostMemory(
        smallest.limit_bytes if smallest else total_bytes,
        min([available_bytes, *(limit.left_bytes for limit in limits)]),
        smallest,
    )


def external_bytes(limit_bytes: int, used_bytes: int, host: HostMemory) -> int:
    """How much of a slice of host RAM of `limit_bytes`, of which we use `used_bytes`, others have taken already.

    The slice is not set aside: when the host has less available than the slice has left, the difference is somebody else's.
    """
    return max(0, limit_bytes - used_bytes - host.available_bytes)
