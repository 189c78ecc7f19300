"""What the tests' own patience promises: it lasts longer where others are at work, and it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.busy_machine import LOOPS_PER_CORE, busy_loops
from tests.patience import Patience, crowding

NEVER = "import threading\n\ndef test_of_what_never_comes():\n    threading.Event().wait()\n"


class Machine:
    """Its clock and how crowded it is, as a test says."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.times = 1.0

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, crowding=lambda: self.times, clock=lambda: self.now_s)


def test_alone_on_a_machine_patience_is_seconds() -> None:
    machine = Machine()
    patience = machine.patience(20.0)
    machine.now_s += 19.0
    assert patience.left_s() == pytest.approx(1.0)
    machine.now_s += 1.0
    assert not patience


def test_where_seven_want_what_one_could_have_it_lasts_seven_times_as_long() -> None:
    machine = Machine()
    patience = machine.patience(20.0)
    machine.times = 7.0
    machine.now_s += 139.0
    assert patience
    machine.times = 1.0
    machine.now_s += 1.0
    assert not patience


def test_busy_loops_crowd_a_machine_while_they_are_wanted() -> None:
    with busy_loops() as loops:
        assert len(loops) == LOOPS_PER_CORE * len(os.sched_getaffinity(0))
        patience = Patience()
        while crowding() < LOOPS_PER_CORE:
            assert patience, "the loops do not run"
    assert not any(Path(f"/proc/{loop}").exists() for loop in loops)


def test_busy_loops_end_with_a_session_that_is_killed() -> None:
    code = (
        "import os, signal\nfrom tests.busy_machine import busy_loops\n"
        "with busy_loops() as loops:\n    print(*loops, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    loops = [int(pid) for pid in told.stdout.split()]
    assert loops
    patience = Patience()
    while any(_runs(pid) for pid in loops):
        assert patience, "a loop outlived who started it"


def _runs(pid: int) -> bool:
    """Whether it has not ended, be it that nobody has heard of its end yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_test_that_waits_for_what_never_comes_fails(tmp_path: Path) -> None:
    """With the suite's own hooks, and no patience to speak of."""
    (tmp_path / "test_never.py").write_text(NEVER)
    pytest_of_it = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    limits = ["--timeout", "0.2", "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)]
    ended = subprocess.run([*pytest_of_it, *limits], stdout=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "Timeout (>0.2s) from pytest-timeout" in ended.stdout
