"""`citadel bench` and `citadel bench compare`, from the arguments to the files."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from engine.api import Answer
from engine.bench.records import BenchResult
from engine.bench.request_records import RequestsResult
from engine.core.commands import Evict, Load, Submission
from tests.bench.runs import request_series, requests_run, run_of, series
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine


def saved(path: Path, run: BenchResult | RequestsResult) -> str:
    path.write_bytes(msgspec.json.encode(run))
    return str(path)


async def test_every_model_is_measured_on_every_gpu(citadel: Citadel, engine: ScriptedEngine, tmp_path: Path) -> None:
    ran = await citadel("bench", "-n", "1", "--warm-up", "0", "--output", str(tmp_path / "run.json"))
    run = msgspec.json.decode((tmp_path / "run.json").read_bytes(), type=BenchResult)
    assert ran.status == 0
    assert [(s.subject.model, s.subject.device) for s in run.series] == [
        (model, device)
        for model in ("all-MiniLM-L6-v2", "e5-small", "bge-base", "phi-3-mini")
        for device in ("gpu0", "gpu1")
    ]
    assert run.machine.cores > 0
    assert "torch" in run.machine.versions
    assert [device.id for device in run.machine.devices] == ["gpu0", "gpu1", "cpu"]
    assert "virtual" in ran.err


async def test_the_engine_keeps_quiet_meanwhile_and_the_figures_say_so(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    quiet: list[bool] = []
    load = engine.submit

    async def submit(submission: Submission) -> Answer:
        quiet.append(engine.quiet)
        return await load(submission)

    engine.submit = submit  # type: ignore[method-assign]
    ran = await citadel("bench", "bge-base", "--on", "gpu0", "-n", "1", "--output", str(tmp_path / "run.json"))
    run = msgspec.json.decode((tmp_path / "run.json").read_bytes(), type=BenchResult)
    assert quiet
    assert all(quiet)
    assert not engine.quiet
    assert run.machine.sample_s == 10
    assert "devices read every 10 s" in ran.out


async def test_the_table_marks_random_weights_and_gives_the_verdict(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("bench", "bge-base", "--on", "gpu1", "-n", "3")
    row = ran.out.splitlines()[1].split()
    assert row[:9] == ["bge-base", "(synthetic)", "gpu1", "ram", "418", "3", "400.0", "400.0", "400.0"]
    assert row[-2:] == ["75%", "yes"]


async def test_nothing_is_evicted_unless_somebody_agrees(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "e5-small", "--on", "gpu1")
    ran = await citadel("bench", "e5-small")
    assert (ran.status, ran.out) == (4, "")
    assert "e5-small (synthetic) leaves gpu1" in ran.err
    assert "--yes" in ran.err
    assert not any(isinstance(submission.command, Evict) for submission in engine.submissions)


async def test_everything_is_where_it_was_afterwards(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "e5-small", "--on", "gpu1")
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    assert (await citadel("bench", "bge-base", "e5-small", "--on", "gpu0", "-n", "1", "--yes")).status == 0
    residents = (await engine.snapshot()).state.residents
    assert {resident.model: resident.device for resident in residents} == {"e5-small": "gpu1", "phi-3-mini": "gpu0"}


async def test_each_repeat_is_a_row_of_the_csv(citadel: Citadel, engine: ScriptedEngine, tmp_path: Path) -> None:
    await citadel("bench", "e5-small", "--on", "gpu0", "-n", "2", "--csv", str(tmp_path / "run.csv"))
    heading, *rows = (tmp_path / "run.csv").read_text().splitlines()
    assert heading.startswith(
        "model,synthetic,device,tier,leaving,weights_bytes,repeat,request_s,switch_s,evict_s,load_s,floor_s,"
    )
    assert [row.split(",")[:8] for row in rows] == [
        ["e5-small", "True", "gpu0", "ram", "", "134217728", number, ""] for number in ("1", "2")
    ]


async def test_a_benchmark_without_any_figure_has_failed(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("bench", "all-MiniLM-L6-v2", "--on", "gpu0", "--from", "disk")
    assert ran.status == 1
    assert "not measured: all-MiniLM-L6-v2 on gpu0 from disk: its slab can't be found from here" in ran.out


async def test_several_tiers_and_pairs_are_measured_in_one_run(citadel: Citadel, engine: ScriptedEngine) -> None:
    chosen = ("e5-small", "bge-base", "--pairs", "--on", "gpu1", "--from", "resident", "ram")
    ran = await citadel("bench", *chosen, "-n", "1", "--warm-up", "0")
    assert ran.status == 0
    subjects = [line.split(")")[0:2] for line in ran.out.splitlines() if "gpu1" in line]
    assert [(name.split()[0], " ".join(rest.split()[1:4])) for name, rest in subjects] == [
        ("bge-base", "resident 418 1"),
        ("bge-base", "ram, for e5-small"),
        ("e5-small", "resident 128 1"),
        ("e5-small", "ram, for bge-base"),
    ]


async def test_a_run_can_be_drawn(citadel: Citadel, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    run = saved(tmp_path / "run.json", run_of(series("m", [1.0, 1.2])))
    assert (await citadel("bench", "plot", run, "-o", str(tmp_path / "run.svg"))).status == 0
    assert "m on gpu0 from ram" in (tmp_path / "run.svg").read_text()


async def test_without_matplotlib_the_remedy_is_told_and_nothing_is_written(
    citadel: Citadel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    run = saved(tmp_path / "run.json", run_of(series("m", [1.0])))
    ran = await citadel("bench", "plot", run, "-o", str(tmp_path / "run.svg"))
    assert ran.status == 1
    assert "pip install 'citadel-tui[plot]'" in ran.err
    assert not (tmp_path / "run.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "no model is named nobody; the catalog has all-MiniLM-L6-v2"),
        (("e5-small", "--on", "gpu7"), "no device gpu7; there are gpu0, gpu1, cpu"),
        (("e5-small", "--output", "/nowhere/run.json"), "/nowhere/run.json can't be written; nothing was measured"),
    ],
)
async def test_mistakes_are_found_before_anything_is_measured(
    citadel: Citadel, engine: ScriptedEngine, arguments: tuple[str, ...], words: str
) -> None:
    ran = await citadel("bench", *arguments)
    assert ran.status == 1
    assert words in ran.err
    assert not any(isinstance(submission.command, Load) for submission in engine.submissions)


async def test_a_regression_beyond_the_threshold_fails(citadel: Citadel, tmp_path: Path) -> None:
    before = saved(tmp_path / "before.json", run_of(series("m", [1.0, 1.01, 0.99])))
    after = saved(tmp_path / "after.json", run_of(series("m", [1.2, 1.21, 1.19])))
    ran = await citadel("bench", "compare", before, after)
    assert ran.status == 1
    assert "SLOWER" in ran.out
    assert (await citadel("bench", "compare", before, after, "--threshold", "30%")).status == 0
    assert (await citadel("bench", "compare", after, before)).status == 0


async def test_runs_with_nothing_in_common_are_not_called_equal(citadel: Citadel, tmp_path: Path) -> None:
    before = saved(tmp_path / "before.json", run_of(series("one", [1.0])))
    after = saved(tmp_path / "after.json", run_of(series("two", [1.0])))
    ran = await citadel("bench", "compare", before, after)
    assert ran.status == 1
    assert "in common" in ran.out


async def test_requests_are_measured_and_kept_as_json_csv_and_markdown(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    files = (f"--output={tmp_path}/run.json", f"--csv={tmp_path}/run.csv", f"--markdown={tmp_path}/run.md")
    chosen = ("e5-small", "phi-3-mini", "-n", "2", "--at-once", "3", "--tokens", "4")
    ran = await citadel("bench", "--requests", *chosen, *files)
    assert ran.status == 0
    rows = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert [row.partition("one at a time")[0] for row in rows[1:3]] == ["e5-small (synthetic) "] * 2
    assert rows[3].startswith("e5-small (synthetic) 3 at once 6 ")
    assert rows[4].startswith("phi-3-mini (synthetic) one at a time, cold 2 ")
    assert rows[4].endswith("tokens")
    assert "sent: to each model 2 requests that it is loaded for, 2 one at a time, and 2 times 3 at once" in ran.out
    assert "at most 4 tokens" in ran.out
    assert "virtual" in ran.err

    run = msgspec.json.decode((tmp_path / "run.json").read_bytes(), type=RequestsResult)
    assert [(s.subject.sent, s.subject.cold, len(s.answers)) for s in run.series[3:]] == [
        ("alone", True, 2),
        ("alone", False, 2),
        ("together", False, 6),
    ]
    assert all(len(answer.gaps_s) == 3 for answer in run.series[3].answers)
    assert run.machine.sample_s == 10
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 1 + 2 * (2 + 2 + 6)
    document = (tmp_path / "run.md").read_text()
    assert "| phi-3-mini (synthetic) | 3 at once | 6 |" in document
    assert f"{run.machine.cores} cores" in document


async def test_a_slower_run_of_requests_fails_the_comparison_and_says_where(citadel: Citadel, tmp_path: Path) -> None:
    seconds = [1.0, 1.01, 0.99]
    before = saved(tmp_path / "before.json", requests_run(request_series("m", seconds, gap_s=0.1)))
    after = saved(tmp_path / "after.json", requests_run(request_series("m", seconds, gap_s=0.2)))
    ran = await citadel("bench", "compare", before, after)
    assert ran.status == 1
    verdicts = {line.split()[5]: line.split()[-1] for line in ran.out.splitlines() if line.startswith("m ")}
    assert verdicts == {"answer": "ok", "first": "ok", "part": "SLOWER", "token": "ok"}
    assert (await citadel("bench", "compare", after, before)).status == 0


async def test_requests_and_switches_do_not_compare_and_requests_are_not_drawn(
    citadel: Citadel, tmp_path: Path
) -> None:
    switches = saved(tmp_path / "switches.json", run_of(series("m", [1.0])))
    requests = saved(tmp_path / "requests.json", requests_run(request_series("m", [1.0])))
    ran = await citadel("bench", "compare", switches, requests)
    assert ran.status == 1
    assert "is a run of switches and one of requests" in ran.err
    drawn = await citadel("bench", "plot", requests, "-o", str(tmp_path / "run.svg"))
    assert drawn.status == 1
    assert "only switches are drawn" in drawn.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--requests", "--on", "gpu0"), "--on"),
        (("--requests", "--from", "disk", "--pairs"), "--from, --pairs"),
        (("--at-once", "4"), "--at-once"),
        (("--tokens", "4", "--markdown", "run.md"), "--tokens, --markdown"),
    ],
)
async def test_what_means_nothing_beside_the_rest_is_refused(
    citadel: Citadel, engine: ScriptedEngine, arguments: tuple[str, ...], named: str
) -> None:
    ran = await citadel("bench", *arguments)
    assert (ran.status, engine.submissions) == (2, [])
    assert f"nothing was measured: {named} can't be meant here" in ran.err


async def test_requests_that_evict_nobody_unless_somebody_agrees(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "e5-small", "--on", "gpu1")
    ran = await citadel("bench", "--requests", "e5-small")
    assert (ran.status, ran.out) == (4, "")
    assert "e5-small (synthetic) leaves gpu1" in ran.err


async def test_a_file_that_is_no_run_is_refused_by_name(citadel: Citadel, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    other, missing = str(tmp_path / "other.json"), str(tmp_path / "missing.json")
    assert "is not a file that `citadel bench --output` wrote" in (await citadel("bench", "compare", other, other)).err
    assert "can't be read: No such file" in (await citadel("bench", "compare", missing, other)).err


@pytest.mark.parametrize(
    "arguments", [("compare", "one.json"), ("plot", "one.json"), ("-n", "0"), ("--threshold", "none"), ("--on", "card")]
)
async def test_wrong_usage_is_told(citadel: Citadel, arguments: tuple[str, ...]) -> None:
    assert (await citadel("bench", *arguments)).status == 2
