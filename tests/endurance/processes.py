"""What the processes of an engine hold, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

RAM_TIER: Final = "memfd:citadel-ram-tier"


class Holding(Struct, frozen=True):
    """What one process holds."""

    resident_kib: int
    """Every page that it has mapped and that is in memory, those that it shares too."""
    own_kib: int
    """Its share of pages that no file can give back: anonymous and shared memory, each divided by those who map it. Over
    all processes these sum to what the engine costs the machine, whoever else maps the same libraries."""
    descriptors: int
    threads: int


def family(pid: int) -> tuple[int, ...]:
    """The process and all that descend from it, oldest first."""
    children = [int(child) for text in _texts(task / "children" for task in _tasks(pid)) for child in text.split()]
    return (pid, *(member for child in sorted(children) for member in family(child)))


def holding(pid: int) -> Holding:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    descriptors = os.listdir(f"/proc/{pid}/fd")
    return Holding(kib["Rss"], kib["Pss_Anon"] + kib["Pss_Shmem"], len(descriptors), len(_tasks(pid)))


def ram_tier_bytes(pid: int) -> int:
    """Memory that the RAM tier's file has been given, whether a slab lies in it or not."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            if RAM_TIER in os.readlink(descriptor):
                found.add(descriptor.stat().st_blocks)
    (blocks,) = found
    return blocks * 512


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _texts(files: Iterable[Path]) -> Iterator[str]:
    """What stands in `files`, without those of threads that have ended since they were listed."""
    for file in files:
        with suppress(FileNotFoundError, ProcessLookupError):
            yield file.read_text()
