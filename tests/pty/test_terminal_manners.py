"""The console in a real terminal: it gives the terminal back however it ends, and says how it ended."""

from __future__ import annotations

import re
import shlex
import signal
import stat
from pathlib import Path

import pytest

from tests.pty.terminal import console, terminal

LEFT_THE_SCREEN = "\x1b[?1049l"
TOOK_THE_SCREEN = "\x1b[?1049h"
SHOWN_CURSOR = "\x1b[?25h"
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:[34][0-8]|9[0-7]|10[0-7])[;m]")
"""A colour that is set, 39 and 49 being none."""
MORE_THAN_THE_LINE_HOLDS = b"gjk" * 300
"""Keys whose answers fill the terminal's buffer, and the queue before it, when nobody reads."""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_in_order_with_the_signals_exit_status(number: signal.Signals, status: int) -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        assert not term.restored
        term.kill(number)
        assert term.wait() == status
        term.until(LEFT_THE_SCREEN)
        term.until(SHOWN_CURSOR)
        assert term.restored


def test_a_dropped_line_ends_it() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        assert term.hang_up() == 128 + signal.SIGHUP


def test_a_terminal_that_stops_reading_is_shown_the_newest_when_it_reads_again() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.send(MORE_THAN_THE_LINE_HOLDS)
        term.send(b"?")
        term.until("up and down scroll")


def test_a_line_that_drops_while_nobody_reads_ends_it() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.send(MORE_THAN_THE_LINE_HOLDS)
        term.bytes_in(0.0)
        assert term.hang_up() == 128 + signal.SIGHUP


def test_leaving_gives_the_terminal_back_and_says_that_the_engine_stays() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.send(b"q")
        assert term.wait() == 0
        term.until(LEFT_THE_SCREEN)
        term.until("The engine goes on and its models stay")
        assert term.restored


def test_ctrl_z_gives_the_shell_its_terminal_and_fg_brings_the_console_back() -> None:
    with terminal("sh", "-i", "-m", PS1="shell> ", ENV="") as term:
        term.until("shell> ")
        term.send(f"{shlex.join(console('quiet'))}\n".encode())
        term.until("phi-3-mini")
        term.send(b"\x1a")
        term.until(LEFT_THE_SCREEN)
        term.until("shell> ")
        term.send(b"fg\n")
        term.until(TOOK_THE_SCREEN)
        term.until("phi-3-mini")
        term.send(b"q")
        term.until("shell> ")


def test_a_new_size_is_taken_up() -> None:
    with terminal(*console("quiet")) as term:
        term.until("phi-3-mini")
        term.resize(180, 36)
        term.until("of budget")


def test_a_crash_leaves_a_private_trace_one_sentence_and_a_failing_status(citadel_home: Path) -> None:
    with terminal(*console("broken")) as term:
        assert term.wait() == 1
        term.until(LEFT_THE_SCREEN)
        term.until("citadel: the console broke (RuntimeError)")
        assert term.restored
    trace = citadel_home / "state" / "console-crash.txt"
    assert "a fault in the console" in trace.read_text(encoding="utf-8")
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600


def test_no_color_leaves_the_terminals_own_colours() -> None:
    with terminal(*console("quiet"), NO_COLOR="1") as term:
        term.until("phi-3-mini")
        term.until("Quit")
        assert not COLOUR.search(term.written)


def test_a_terminal_without_utf8_gets_ascii_only() -> None:
    with terminal(*console("quiet"), TERM="linux") as term:
        term.until("phi-3-mini")
        term.until("Quit")
        assert term.written.isascii()
