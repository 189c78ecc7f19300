"""`citadel replay`, from its arguments to what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from citadel_tui.cli import main
from tests.replay.demands import demand, written


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(written(demand(16, 1.2, 2.0, seed=3, requests=300)))
    return path


def test_each_policy_has_a_row_and_the_bound_says_that_it_is_one(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(trace)]) == 0

    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[4:8]] == ["expected_loss", "lru", "lfu", "clairvoyant*"]
    assert "a bound to measure against, not a policy" in shown


def test_the_box_and_the_sizes_can_be_given(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("model,size\n" + "".join(f"m{rank:03},1GB\n" for rank in range(16)))

    box = ["--gpus", "2GB,2x3GB", "--ram", "0GB", "--sizes", str(sizes)]
    assert main(["replay", str(trace), "--policy", "lru", "--json", *box]) == 0

    compared = json.loads(capsys.readouterr().out)
    assert compared["box"]["gpus_bytes"] == [2 * 10**9, 3 * 10**9, 3 * 10**9]
    assert compared["box"]["ram_bytes"] == 0
    assert list(compared["policies"]) == ["lru"]
    assert set(compared["sizes"].values()) == {10**9}


def test_a_bad_line_is_refused_with_the_file_and_the_line(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace.write_text("t_s,model,work\n1,a,1\n2,b\n")

    assert main(["replay", str(trace)]) == 1

    assert f"{trace}, line 3: 2 fields where 3 belong" in capsys.readouterr().err


def test_a_trace_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "none.csv")]) == 1

    assert "none.csv can't be read: No such file" in capsys.readouterr().err


def test_a_box_too_small_for_a_model_is_refused(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(trace), "--gpus", "2x3GB"]) == 1

    assert "m007 takes 4.00 GB" in capsys.readouterr().err
