"""The system's own files and limits. `root` stands for `/`, so that tests can bring a system of their own."""

from __future__ import annotations

import getpass
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from engine.doctor.machine import Host

_CONTAINER_FILES: Final = {".dockerenv": "docker", "run/.containerenv": "podman"}
_CONTAINER_GROUPS: Final = ("docker", "kubepods", "containerd", "libpod", "lxc")
_MEMORY_LIMITS: Final = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_NO_LIMIT_BYTES: Final = 1 << 60
"""Control groups of the first version write a number near 2⁶³ for no limit."""


def ask_host(root: Path = Path("/")) -> Host:
    limit_bytes, _hard_bytes = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    version = sys.version_info
    return Host(
        python=(version.major, version.minor, version.micro),
        executable=sys.executable,
        system=_system(root),
        user=_user(),
        container=_container(root),
        container_memory_bytes=_memory_limit(root),
        shm_bytes=_size(root / "dev/shm"),
        memlock_bytes=None if limit_bytes == resource.RLIM_INFINITY else limit_bytes,
    )


def read_text(path: Path) -> str:
    """The file's text; empty when it is not there or not ours to read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _system(root: Path) -> str:
    lines = read_text(root / "etc/os-release").splitlines()
    return next((line.partition("=")[2].strip("\"'") for line in lines if line.startswith("ID=")), "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have them
        return ""


def _container(root: Path) -> str:
    """The hint that says that this is a container, or nothing."""
    marks = (name for file, name in _CONTAINER_FILES.items() if (root / file).exists())
    groups = read_text(root / "proc/self/cgroup")
    return next(marks, next((name for name in _CONTAINER_GROUPS if name in groups), ""))


def _memory_limit(root: Path) -> int | None:
    texts: Iterable[str] = (read_text(root / file).strip() for file in _MEMORY_LIMITS)
    limit_bytes = next((int(text) for text in texts if text.isdigit()), None)
    return limit_bytes if limit_bytes is not None and limit_bytes < _NO_LIMIT_BYTES else None


def _size(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_frsize * found.f_blocks
