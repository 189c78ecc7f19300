"""A program in a pseudo terminal: what it writes, what it is sent, how it ends, and how it leaves the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.patience import Patience

ANSWERS: Final = {b"\x1b[c": b"\x1b[?62;22c", b"\x1b[6n": b"\x1b[1;1R", b"\x1b[?2026$p": b"\x1b[?2026;2$y"}
"""What every terminal says of itself, its cursor and its modes: some programs wait for it."""


class Terminal:
    """The terminal's side of a running program."""

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self.written = b""
        """All that the program has written."""
        self.answers: Mapping[bytes, bytes] = {}
        """What it says to the queries that a program may write; a silent terminal unless a caller fills it."""
        self._seen = 0
        self._master = master
        self._modes = modes(master)

    @property
    def restored(self) -> bool:
        """Whether line editing, echo and the rest are as they were before the program began."""
        return modes(self._master) == self._modes

    def send(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> int:
        """The line drops; the exit status of the program."""
        os.close(self._master)
        self._master = -1
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def answer_s(self, keys: bytes) -> float:
        """Seconds from sending the keys until the program has written something."""
        while self._read(0):
            pass
        began = time.monotonic()
        self.send(keys)
        before = len(self.written)
        while len(self.written) == before:
            self._read(1.0)
        return time.monotonic() - began

    def resize(self, columns: int, rows: int) -> None:
        set_size(self._master, columns, rows)

    def until(self, text: str) -> None:
        """Reads until the program has written `text`, after what was waited for before."""
        wanted, patience = text.encode(), Patience()
        while (at := self.written.find(wanted, self._seen)) < 0:
            if not (patience and self._read(0.1)):
                pytest.fail(f"{text!r} never came; the end of what did: {self.written[-2000:]!r}")
        self._seen = at + len(wanted)

    def bytes_in(self, seconds: float) -> int:
        """How many bytes the program writes in so many seconds."""
        before, deadline = len(self.written), time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(deadline - time.monotonic())
        return len(self.written) - before

    def until_stopped(self) -> None:
        """Reads until the program has stopped itself, as for ctrl+z."""
        while not os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)[0]:
            self._read(0.05)

    def wait(self) -> int:
        """Reads until the program has ended; its exit status."""
        patience = Patience()
        while patience:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                while self._read(0):
                    pass
                return os.waitstatus_to_exitcode(status)
        pytest.fail(f"it never ended; it last wrote {self.written[-500:]!r}")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._master >= 0:
            os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """Takes what has come within `seconds`; False when the program has closed its end."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        if not ready:
            return seconds > 0
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        self.written += data
        for query, answer in self.answers.items():
            if query in data:
                self.send(answer)
        return bool(data)


@contextmanager
def terminal(*command: str, size: tuple[int, int] = (80, 24), **environment: str) -> Iterator[Terminal]:
    """`command` in a terminal of that size, in sixteen colours unless `environment` says otherwise."""
    given = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **environment}
    found = start(command, size, {name: value for name, value in given.items() if value})
    try:
        yield found
    finally:
        found.close()


def start(command: tuple[str, ...], size: tuple[int, int], environment: Mapping[str, str]) -> Terminal:
    """A child in its own session. It waits for its size, so that its first paint is at that size."""
    go_read, go_write = os.pipe()
    pid, master = pty.fork()
    if pid == 0:
        os.read(go_read, 1)
        os.execvpe(command[0], command, dict(environment))
    set_size(master, *size)
    found = Terminal(pid, master)
    os.write(go_write, b"g")
    os.close(go_read)
    os.close(go_write)
    return found


def set_size(master: int, columns: int, rows: int) -> None:
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def modes(master: int) -> list[Any]:
    return termios.tcgetattr(master)


def console(mode: str) -> tuple[str, ...]:
    """The command of a console over a scripted engine."""
    return (sys.executable, "-m", "tests.pty.console", mode)
