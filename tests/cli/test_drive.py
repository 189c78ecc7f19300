"""`citadel drive`, from its arguments to what came of the play, on a scripted engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from engine.api import CannotServe
from engine.bench.request_records import RequestsResult
from engine.core.tasks import RunEvent, Task
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine

FAST = ("--speed", "1000")


def trace(folder: Path, models: str) -> str:
    """A request a second for each letter."""
    path = folder / "trace.csv"
    path.write_text("t_s,model,work\n" + "".join(f"{at_s},{model},2\n" for at_s, model in enumerate(models)))
    return str(path)


async def test_requests_are_played_and_counted_by_device(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    ran = await citadel("drive", trace(tmp_path, "ababa"), *FAST, "--json")

    played = json.loads(ran.out)
    assert ran.status == 0
    assert (played["requests"], played["failures"], sum(played["served"].values())) == (5, {}, 5)
    assert played["cast"]["parts"] == {"a": "all-MiniLM-L6-v2", "b": "e5-small"}
    assert not played["stopped"]
    assert played["delays"]["mean_s"] <= played["delays"]["largest_s"]
    assert played["switches"]["count"] == 2


async def test_the_summary_says_who_played_whom_and_how_it_went(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    ran = await citadel("drive", trace(tmp_path, "aabbc"), *FAST, "--models", "by-rank")

    assert "a → all-MiniLM-L6-v2, b → e5-small (synthetic), c → bge-base (synthetic)" in ran.out
    assert re.search(r"5 in <?0\.\d\d s; 0 failed", ran.out)
    assert "budget filled" in ran.out
    assert re.search(r"at best +\d+\.\d % for these requests; \d+\.\d % with ", ran.out)
    assert "the GPUs are virtual" in ran.err


async def test_every_request_is_kept_with_its_times_cold_and_warm_apart(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    cast = tmp_path / "cast.csv"
    cast.write_text("trace,model\na,e5-small\nw,phi-3-mini\n")
    kept = [tmp_path / f"play.{ending}" for ending in ("json", "csv", "md")]
    files = ("--output", str(kept[0]), "--csv", str(kept[1]), "--markdown", str(kept[2]))
    # a second apart: the warm ones are due long after their models have come
    ran = await citadel("drive", trace(tmp_path, "awaw"), "--speed", "20", "--models", str(cast), *files)

    assert ran.status == 0
    run = msgspec.json.decode(kept[0].read_bytes(), type=RequestsResult)
    assert sum(len(series.answers) for series in run.series) == 4
    assert {(s.subject.model, s.subject.sent, s.unit) for s in run.series} == {
        ("e5-small", "played", "rows"),
        ("phi-3-mini", "played", "tokens"),
    }
    assert all(answer.gaps_s for s in run.series if s.unit == "tokens" for answer in s.answers)
    assert run.mix.endswith("20 times as fast; a by e5-small, w by phi-3-mini")
    assert run.machine.cores > 0
    assert len(kept[1].read_text().splitlines()) == 5
    assert "| e5-small (synthetic) | as the demand has them" in kept[2].read_text()
    assert "FIRST P95" in ran.out
    assert (await citadel("bench", "compare", str(kept[0]), str(kept[0]))).status == 0


async def test_a_file_that_can_not_be_written_is_found_out_before_anything_is_sent(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    ran = await citadel("drive", trace(tmp_path, "a"), "--csv", "/nowhere/play.csv")
    assert (ran.status, engine.submissions) == (1, [])
    assert "/nowhere/play.csv can't be written" in ran.err


async def test_failures_are_counted_by_their_reason_and_do_not_end_the_play(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: str, task: Task) -> AsyncGenerator[RunEvent, None]:
        raise CannotServe(f"{model}: no room")

    monkeypatch.setattr(engine, "run", refuse)
    ran = await citadel("drive", trace(tmp_path, "aaa"), *FAST)

    assert ran.status == 1
    assert "3 failed" in ran.out
    assert "3 × all-MiniLM-L6-v2: no room" in ran.out


async def test_generated_demand_needs_no_trace_and_a_limit_shortens_it(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    ran = await citadel("drive", "--generated", "models=3,requests=40,seed=2", *FAST, "--limit", "7", "--json")

    played = json.loads(ran.out)
    assert played["requests"] == 7
    assert played["demand"] == "generated: models=3, requests=40, zipf=1.1, gap_cv=1, seed=2"


async def test_a_play_of_a_given_duration_ends_before_the_demand_does(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    ran = await citadel("drive", trace(tmp_path, "a" * 5000), "--speed", "1", "--duration", "0.05", "--json")

    played = json.loads(ran.out)
    assert ran.status == 0
    assert played["stopped"]
    assert 1 <= played["requests"] < 5000


async def test_an_engine_that_goes_away_ends_the_play_with_what_was_answered(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    playing = asyncio.ensure_future(citadel("drive", trace(tmp_path, "a" * 5000), "--speed", "1"))
    await engine.until(lambda: bool(engine.state.residents))
    await engine.stop()
    ran = await playing

    assert ran.status == 2
    assert "engine" in ran.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "drive takes a trace, or --generated and no trace"),
        (("t.csv", "--generated", "seed=1"), 2, "drive takes a trace, or --generated"),
        (("none.csv",), 1, "none.csv can't be read"),
        (("--generated", "zipf=much"), 2, "describes no demand"),
        (("--generated", "seed=1", "--models", "none.csv"), 1, "none.csv can't be read"),
        (("--generated", "seed=1", "--speed", "0"), 2, "'0' is not a number above 0"),
    ],
)
async def test_mistakes_are_told_and_nothing_is_sent(
    citadel: Citadel, engine: ScriptedEngine, arguments: tuple[str, ...], status: int, said: str
) -> None:
    ran = await citadel("drive", *arguments)

    assert (ran.status, engine.submissions) == (status, [])
    assert said in ran.err
