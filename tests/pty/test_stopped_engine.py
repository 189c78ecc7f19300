"""An engine in a process of its own that is stopped under a console in a real terminal, and goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.paths import Paths, find_paths
from tests.patience import Patience
from tests.pty.screen import Screen
from tests.pty.terminal import Terminal, terminal

SIZE = (100, 30)


@contextmanager
def engine_process(paths: Paths) -> Iterator[subprocess.Popen[bytes]]:
    """One that serves at the socket."""
    with subprocess.Popen((sys.executable, "-m", "tests.service.scripted_process")) as process:
        try:
            patience = Patience()
            while not paths.socket.exists():
                assert patience, "it never served"
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


class Seen:
    """What the terminal shows."""

    def __init__(self, term: Terminal) -> None:
        self._term = term
        self._screen = Screen(*SIZE)
        self._read = 0

    def until(self, pattern: str) -> re.Match[str]:
        """Reads until the screen shows it."""
        patience = Patience(40.0)
        while patience:
            self._term.bytes_in(0.1)
            text = self._term.written[self._read :].decode(errors="replace")
            self._read = len(self._term.written)
            self._screen.write(text)
            if found := re.search(pattern, self.text):
                return found
        pytest.fail(f"{pattern!r} never came; the screen is:\n{self.text}")

    @property
    def text(self) -> str:
        return "\n".join("".join(character for character, _ in row) for row in self._screen.seen())


def test_a_stopped_engine_is_told_of_with_its_true_age_a_key_is_answered_and_it_goes_on(citadel_home: object) -> None:
    paths = find_paths(os.environ)
    with engine_process(paths) as engine, terminal(sys.executable, "-m", "citadel_tui", size=SIZE) as term:
        seen = Seen(term)
        seen.until("● live")
        engine.send_signal(signal.SIGSTOP)
        # From the last sign of life on, and not from when its absence was noticed.
        assert int(seen.until(r"○ silent (\d+)s")[1]) >= 3
        seen.until("no sign of life for")
        term.send(b"p")
        seen.until(r"pin [\w.-]+: asking; the engine has given no sign of life")
        engine.send_signal(signal.SIGCONT)
        seen.until("● live")
        seen.until(r"pin [\w.-]+: (done|nothing to do)")


def test_status_that_goes_on_says_the_same(citadel_home: object) -> None:
    watch = (sys.executable, "-m", "citadel_tui", "status", "--watch", "1")
    with engine_process(find_paths(os.environ)) as engine, terminal(*watch, size=SIZE) as term:
        term.until("RAM tier")
        engine.send_signal(signal.SIGSTOP)
        term.until("s; what is shown is that old")
        assert int(re.findall(rb"no sign of life for (\d+)s", term.written)[0]) >= 3
