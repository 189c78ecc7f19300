"""Who holds memory on a card, read from a process table; what it hides stays unknown."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest

from engine.devices.cards import GpuProcess
from engine.devices.processes import ProcessTable

BOOTED_S = 1_700_000_000


def process(proc: Path, pid: int, name: str, command: bytes, started_after_s: int) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{name}\n")
    (folder / "cmdline").write_bytes(command)
    before = " ".join(["S", *("0" for _ in range(18))])
    (folder / "stat").write_text(f"{pid} ({name}) {before} {started_after_s * os.sysconf('SC_CLK_TCK')} 0 0\n")
    (proc / "stat").write_text(f"cpu 1 2 3\nbtime {BOOTED_S}\nprocesses 9\n")


def known(table: ProcessTable, pid: int) -> GpuProcess:
    """The process, once the name of its user has been looked up."""
    me = pwd.getpwuid(os.getuid()).pw_name
    while (found := table.described([(pid, 7)])[0]).user != me:
        time.sleep(0)
    return found


def test_a_process_is_told_with_its_user_its_command_and_when_it_was_started(tmp_path: Path) -> None:
    process(tmp_path, 12, "python3", b"python3\0train.py\0--epochs\x003\0", 90)
    found = known(ProcessTable(tmp_path), 12)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert found == GpuProcess(12, "python3", 7, me, "python3 train.py --epochs 3", BOOTED_S + 90)


def test_a_name_with_brackets_and_blanks_hides_nothing_of_what_follows_it(tmp_path: Path) -> None:
    process(tmp_path, 12, "a) S 1 (b", b"", 5)
    found = known(ProcessTable(tmp_path), 12)
    assert (found.name, found.command, found.started_s) == ("a) S 1 (b", "a) S 1 (b", BOOTED_S + 5)


def test_until_the_users_name_is_known_its_number_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_knows(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody_knows)
    process(tmp_path, 12, "python3", b"python3", 5)
    table = ProcessTable(tmp_path)
    assert [table.described([(12, 7)])[0].user for _ in range(3)] == [str(os.getuid())] * 3


def test_of_a_process_that_the_table_hides_only_its_memory_is_known(tmp_path: Path) -> None:
    assert ProcessTable(tmp_path).described([(12, 7), (13, None)]) == (
        GpuProcess(12, None, 7),
        GpuProcess(13, None, None),
    )


def test_a_process_that_computes_and_renders_is_told_once_with_the_larger_figure(tmp_path: Path) -> None:
    assert ProcessTable(tmp_path).described([(12, 7), (12, 9), (12, None)]) == (GpuProcess(12, None, 9),)
