"""What a thread that asks for short turns gets, and what it keeps."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.prompt_loop import TURN_NS, ask_for_short_turns

TURN = re.compile(r"^se\.slice\s*:\s*(\d+)$", re.MULTILINE)


def _turn_ns() -> int:
    """Of the calling thread. Skips where the kernel does not tell."""
    try:
        found = TURN.search(Path(f"/proc/self/task/{threading.get_native_id()}/sched").read_text())
    except FileNotFoundError:
        found = None
    if found is None:
        pytest.skip("this kernel does not tell how long a thread's turns are")
    return int(found[1])


def _in_thread(steps: list[int]) -> None:
    if ask_for_short_turns():
        steps.append(_turn_ns())
        child = threading.Thread(target=lambda: steps.append(_turn_ns()))
        child.start()
        child.join()


def test_the_thread_that_asks_has_short_turns_and_those_it_starts_do_not() -> None:
    usual_ns = _turn_ns()
    turns_ns: list[int] = []
    thread = threading.Thread(target=_in_thread, args=(turns_ns,))
    thread.start()
    thread.join()
    if not turns_ns or turns_ns[0] == usual_ns:
        pytest.skip("this kernel does not know turns of a thread's own")
    assert turns_ns == [TURN_NS, usual_ns]
    assert _turn_ns() == usual_ns


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux only")
def test_a_process_that_somebody_made_nice_stays_so() -> None:
    program = "import os; from engine.prompt_loop import ask_for_short_turns as ask; ask(); print(os.nice(0))"
    run = subprocess.run(
        [sys.executable, "-c", program], preexec_fn=lambda: os.nice(7), capture_output=True, text=True, check=True
    )
    assert int(run.stdout) == os.nice(0) + 7
