"""Who holds memory on a card, as the host's process table knows them: name, user, command line, and since when.

Names of users are looked up on a thread of its own: where they come from a directory server that hangs, that must not look like
a driver that does. Until one is known its number stands for it.
"""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.devices.cards import GpuProcess

_COMMAND_MOST: Final = 400
"""Characters; the rest of a longer one tells nobody anything."""
_STARTED: Final = 19
"""The place of a process' start among the words behind its name in /proc/PID/stat."""


class _Seen(Struct, frozen=True):
    """What the process table has of a process; None where it can't be seen, as from inside a container."""

    name: str | None = None
    user_number: int | None = None
    command: str | None = None
    started_s: int | None = None


class ProcessTable:
    """The host's, with the names of users that have been looked up so far."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc: Final = proc
        self._users: Final[dict[int, str]] = {}
        self._asked: Final[set[int]] = set()

    def described(self, listed: Iterable[tuple[int, int | None]]) -> tuple[GpuProcess, ...]:
        """One entry a process of (pid, bytes). One that computes and renders is listed twice, each time with all it holds."""
        held: dict[int, int | None] = {}
        for pid, used_bytes in listed:
            known_bytes = held.get(pid)
            held[pid] = used_bytes if known_bytes is None else max(known_bytes, used_bytes or 0)
        return tuple(self._process(pid, used_bytes) for pid, used_bytes in held.items())

    def _process(self, pid: int, used_bytes: int | None) -> GpuProcess:
        seen = self._seen(pid)
        user = None if seen.user_number is None else self._user(seen.user_number)
        return GpuProcess(pid, seen.name, used_bytes, user, seen.command, seen.started_s)

    def _seen(self, pid: int) -> _Seen:
        folder = self._proc / str(pid)
        seen = _Seen()
        with suppress(OSError, ValueError, IndexError):
            name = (folder / "comm").read_text(errors="replace").strip()
            seen = _Seen(name)
            command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
            seen = _Seen(name, folder.stat().st_uid, command[:_COMMAND_MOST] or name)
            seen = _Seen(name, seen.user_number, seen.command, self._started_s(folder))
        return seen

    def _started_s(self, folder: Path) -> int:
        # The name, in brackets, may itself have blanks and brackets in it.
        ticks = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[_STARTED]
        booted = next((line for line in (self._proc / "stat").read_text().split("\n") if line.startswith("btime ")), "")
        return int(booted.split()[1]) + int(ticks) // os.sysconf("SC_CLK_TCK")

    # ── users ────────────────────────────────────────────────────────────────────────────────────

    def _user(self, number: int) -> str:
        if number not in self._asked:
            self._asked.add(number)
            threading.Thread(target=self._look_up, args=(number,), name="citadel-user-names", daemon=True).start()
        return self._users.get(number, str(number))

    def _look_up(self, number: int) -> None:
        with suppress(KeyError):
            self._users[number] = pwd.getpwuid(number).pw_name
