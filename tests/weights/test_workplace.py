"""Folders that are whole or not there, whoever is killed while writing them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.weights.workplace import publish, workplace

WRITER = """
import sys
from pathlib import Path
from engine.weights.workplace import workplace

with workplace(Path(sys.argv[1])) as temporary:
    (temporary / "half").write_text("written")
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which is writing `parent/m` and does not finish."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "parent" / "m")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(".m.")
        yield process
        process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_not_published_is_gone(tmp_path: Path) -> None:
    with workplace(tmp_path / "parent" / "m") as temporary:
        (temporary / "half").write_text("written")
    assert names(tmp_path / "parent") == []


def test_what_is_published_has_its_name_and_takes_the_place_of_what_had_it(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with workplace(tmp_path / "parent" / "m") as temporary:
            (temporary / "whole").write_text(text)
            publish(temporary, tmp_path / "parent" / "m")
    assert names(tmp_path / "parent") == ["m"]
    assert (tmp_path / "parent" / "m" / "whole").read_text() == "second"


def test_what_a_killed_writer_left_goes_when_the_next_one_begins(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    writer.kill()
    writer.wait()
    assert len(names(tmp_path / "parent")) == 1
    with workplace(tmp_path / "parent" / "other") as temporary:
        assert names(tmp_path / "parent") == [temporary.name]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    with workplace(tmp_path / "parent" / "m") as temporary:
        assert len(names(tmp_path / "parent")) == 2
        publish(temporary, tmp_path / "parent" / "m")
    assert "m" in names(tmp_path / "parent")
    assert len(names(tmp_path / "parent")) == 2
