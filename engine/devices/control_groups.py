"""Memory limits of the control groups that this process is in, of the first and the second version. `root` stands for `/`, so
that tests can bring a system of their own.

Kept apart: how Linux lays groups out is kept from what budgets are made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from msgspec import Struct

_NO_LIMIT_BYTES: Final = 1 << 60
"""Groups of the first version write a number near 2⁶³ for no limit, in whole pages."""


class MemoryLimit(Struct, frozen=True):
    """What a group, and all that is in it, may have."""

    limit_bytes: int
    used_bytes: int
    """By everybody in the group, less pages of files, which the kernel takes back when it needs them. 0 where nobody may look."""
    group: str
    """Its folder, as this process sees it."""
    file: str
    """The one in it that sets the limit."""

    @property
    def left_bytes(self) -> int:
        return max(0, self.limit_bytes - self.used_bytes)


class _Version(Struct, frozen=True):
    """What the files of a version of control groups are called."""

    limits: tuple[str, ...]
    used: str
    file_pages: tuple[str, ...]
    """Of memory.stat. Not what it calls cache or file: shared memory is part of that, and is ours as long as we hold it."""


_FIRST: Final = _Version(
    ("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)
_SECOND: Final = _Version(
    ("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file", "slab_reclaimable")
)
_HIERARCHY: Final = "hierarchical_memory_limit"
"""Of memory.stat of the first version: the smallest limit of all ancestors, also of those that a container does not see."""


def memory_limits(root: Path = Path("/")) -> tuple[MemoryLimit, ...]:
    """Of every group from this process's own up to the topmost that can be seen; empty where none is set, or can be read."""
    paths = dict(_paths(_read(root / "proc/self/cgroup")))
    return tuple(
        limit
        for version, mount in _mounts(_read(root / "proc/self/mountinfo"))
        if version in paths
        for folder in _upwards(root, mount, paths[version])
        for limit in _limits_in(root, folder, version)
    )


class _Mount(Struct, frozen=True):
    """Where groups can be looked at."""

    top: PurePosixPath
    """The group whose folder it is."""
    folder: PurePosixPath


def _paths(text: str) -> Iterator[tuple[_Version, PurePosixPath]]:
    """The group of this process in each hierarchy that may limit memory."""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield _SECOND, PurePosixPath(path)
        elif "memory" in controllers.split(","):
            yield _FIRST, PurePosixPath(path)


def _mounts(text: str) -> Iterator[tuple[_Version, _Mount]]:
    for line in text.splitlines():
        place, _, system = line.partition(" - ")
        fields, (kind, *options) = place.split(" "), system.split(" ")
        if len(fields) < 5 or not kind.startswith("cgroup"):
            continue
        mount = _Mount(*(PurePosixPath(_unescaped(field)) for field in fields[3:5]))
        if kind == "cgroup2":
            yield _SECOND, mount
        elif "memory" in options[-1].split(","):
            yield _FIRST, mount


def _unescaped(field: str) -> str:
    """Spaces and the like are written as \\040 there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _upwards(root: Path, mount: _Mount, group: PurePosixPath) -> Iterator[PurePosixPath]:
    """Folders of the group and of its ancestors, as far as they are mounted. A group that is not beneath the mount, as in
    containers that are told their host's path, or in another namespace, is taken to be the one that is mounted."""
    inner = group.relative_to(mount.top) if group.is_relative_to(mount.top) else PurePosixPath()
    if ".." in inner.parts or not _in(root, mount.folder / inner).is_dir():
        inner = PurePosixPath()
    return (mount.folder / part for part in (inner, *inner.parents))


def _limits_in(root: Path, folder: PurePosixPath, version: _Version) -> Iterator[MemoryLimit]:
    here = _in(root, folder)
    lines = (line.partition(" ") for line in _read(here / "memory.stat").splitlines())
    stat = {key: _number(value) for key, _, value in lines}
    reclaimable_bytes = sum(stat.get(key) or 0 for key in version.file_pages)
    used_bytes = max(0, (_number(_read(here / version.used)) or 0) - reclaimable_bytes)
    said = {name: _number(_read(here / name)) for name in version.limits}
    if version is _FIRST:
        said[f"memory.stat: {_HIERARCHY}"] = stat.get(_HIERARCHY)
    for name, limit_bytes in said.items():
        if limit_bytes is not None and limit_bytes < _NO_LIMIT_BYTES:
            yield MemoryLimit(limit_bytes, used_bytes, str(folder), name)


def _in(root: Path, folder: PurePosixPath) -> Path:
    return root / str(folder).lstrip("/")


def _read(file: Path) -> str:
    """Empty where it is not there or not ours to read."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    """None for "max", and for what is no number."""
    return int(text) if re.fullmatch(r"\s*[0-9]{1,20}\s*", text, re.ASCII) else None
