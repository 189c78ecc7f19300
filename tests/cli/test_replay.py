"""`citadel replay`, from its arguments to what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from citadel_tui.cli import main
from engine.replay.generated import demand
from engine.replay.untimed import EVICTIONS
from tests.recording.trace_files import trace_text


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(trace_text(demand(16, 1.2, 2.0, seed=3, requests=300)))
    return path


def test_each_policy_has_a_row_and_the_bound_says_that_it_is_one(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(trace)]) == 0

    shown = capsys.readouterr().out
    rows = [*EVICTIONS, "clairvoyant*"]
    assert [line.split()[0] for line in shown.splitlines()[4 : 4 + len(rows)]] == rows
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


def test_a_timed_replay_tells_waits_delays_and_denials(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(trace), "--timed", "--policy", "lru"]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert shown[3].split()[:8] == ["POLICY", "SWITCH", "s", "WAIT", "mean", "p99", "DELAY", "mean"]
    assert shown[4].split()[0] == "lru"
    assert shown[3].split()[-2:] == ["AHEAD", "s"]
    assert "DELAY: seconds from its arrival to its answer" in shown[-2]
    assert "AHEAD: seconds of reading slabs from disk before anybody waited for them" in shown[-1]


def test_faster_requests_wait_no_less(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waited = []
    for speed in ("1", "50"):
        assert main(["replay", str(trace), "--timed", "--policy", "lru", "--json", "--speed-up", speed]) == 0
        waited.append(json.loads(capsys.readouterr().out)["policies"]["lru"]["waits"]["mean_s"])

    assert waited[0] < waited[1]


def test_a_picture_without_matplotlib_says_what_to_install(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    assert main(["replay", str(trace), "--plot", str(tmp_path / "replay.svg")]) == 1

    assert "pip install 'citadel-tui[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--timed"]])
def test_a_replay_can_be_drawn(trace: Path, tmp_path: Path, form: list[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "replay.svg"

    assert main(["replay", str(trace), *form, "--plot", str(picture)]) == 0

    assert "<svg" in picture.read_text()


def test_an_unknown_form_of_picture_is_refused(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")

    assert main(["replay", str(trace), "--plot", str(tmp_path / "replay.doc")]) == 1

    assert "replay.doc can't be drawn" in capsys.readouterr().err


def test_generated_demand_is_replayed_without_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--generated", "models=12,requests=900,seed=2", "--policy", "lru", "--json"]) == 0

    compared = json.loads(capsys.readouterr().out)
    assert 800 < compared["requests"] < 1000
    assert len(compared["sizes"]) == 12


def test_enough_demand_is_not_remarked_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--generated", "models=12,requests=900,seed=2"]) == 0

    assert "too few" not in capsys.readouterr().err
