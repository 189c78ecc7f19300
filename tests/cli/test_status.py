"""`citadel status`, for people and for programs, with and without an engine."""

from __future__ import annotations

import asyncio
import csv
import json

import pytest
from msgspec.structs import replace

from engine.core.commands import Load, Submission
from engine.core.devices import Reading
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import FARING


async def test_the_table_shows_both_shares_and_marks_synthetic_models(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini")
    ran = await citadel("status")
    lines = ran.out.splitlines()
    assert (ran.status, ran.err) == (0, "")
    assert "the GPUs are virtual, in host RAM" in lines
    assert "DEVICE  HEALTH  MODELS  USED  BUDGET  TOTAL MiB  OF BUDGET  OF TOTAL  RESIDENTS" in lines
    assert "gpu0    ok         480   480     512        640        94%       75%  phi-3-mini" in lines
    assert "phi-3-mini (synthetic)  gpu0   ready    480  -         0         0      0.0" in lines
    assert "bge-base (synthetic)    disk   resting  438  -         0         0      0.0" in lines


async def test_the_json_is_versioned_and_numeric(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini")
    report = json.loads((await citadel("status", "--json")).out)
    gpu = report["devices"][0]
    assert report["version"] == 1
    assert gpu["used_bytes"] == 480 << 20
    assert gpu["budget_bytes"] == 512 << 20
    assert (gpu["percent_of_budget"], gpu["percent_of_total"]) == (93.8, 75.0)
    assert [model["name"] for model in report["models"] if model["places"]] == ["phi-3-mini"]


async def test_a_benchmark_under_way_is_said_in_words_and_in_figures(citadel: Citadel, engine: ScriptedEngine) -> None:
    assert json.loads((await citadel("status", "--json")).out)["quiet_sample_s"] is None
    await engine.keep_quiet(15)
    assert "benchmark: sampling every 10 s" in (await citadel("status")).out.splitlines()
    assert json.loads((await citadel("status", "--json")).out)["quiet_sample_s"] == 10


async def test_the_json_comes_while_a_model_loads(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.hold()
    loading = asyncio.create_task(engine.submit(Submission("1", Load("bge-base"))))
    await engine.until(lambda: len(engine.jobs) == 1)
    report = json.loads((await citadel("status", "--json")).out)
    engine.release()
    await loading
    assert [place["progress"] for model in report["models"] for place in model["places"]] == [0.5]
    assert [job["command"]["model"] for job in report["jobs"]] == ["bge-base"]


async def test_without_an_engine_the_json_carries_the_reason(citadel: Citadel) -> None:
    ran = await citadel("status", "--json")
    assert ran.status == 2
    assert json.loads(ran.out)["version"] == 1
    assert "start one with `citadel`" in json.loads(ran.out)["error"]


@pytest.mark.parametrize("command", ["status", "log", "monitor", "stop"])
async def test_looking_and_stopping_start_no_engine(citadel: Citadel, command: str) -> None:
    ran = await citadel(command)
    assert (ran.status, ran.out) == (2, "")
    assert "no engine is running" in ran.err


async def test_a_figure_that_is_not_known_is_neither_zero_nor_left_out(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    state = (await engine.snapshot()).state
    lost = replace(state.devices["gpu1"], reading=Reading("lost", "the driver no longer answers"))
    engine.set_state(replace(state, devices={**state.devices, "gpu1": lost}))
    table = (await citadel("status")).out
    rows = list(csv.DictReader((await citadel("status", "--csv")).out.splitlines()))
    assert "gpu1    lost         0     -     512        640         0%         -  -" in table.splitlines()
    assert "gpu1: the driver no longer answers" in table.splitlines()
    assert [row["used_bytes"] for row in rows] == ["0", "", "0"]


async def test_models_have_a_csv_of_their_own(citadel: Citadel, engine: ScriptedEngine) -> None:
    rows = list(csv.DictReader((await citadel("status", "--csv", "models")).out.splitlines()))
    assert [row["name"] for row in rows] == ["all-MiniLM-L6-v2", "e5-small", "bge-base", "phi-3-mini"]
    assert {row["synthetic"] for row in rows} == {"True", "False"}


async def test_what_a_device_says_of_itself_can_not_steer_the_terminal(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    state = (await engine.snapshot()).state
    hostile = replace(state.devices["gpu0"], reading=Reading("failed", "\x1b]0;pwned\x07 and\x9b2J"))
    engine.set_state(replace(state, devices={**state.devices, "gpu0": hostile}))
    assert not set((await citadel("status")).out) & set("\x1b\x07\x9b")


async def test_how_requests_fare_is_a_table_of_its_own_and_says_what_its_times_are_of(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    assert "REQUESTS OF" not in (await citadel("status")).out
    engine.set_requests(FARING)
    ran = await citadel("status")
    rows = ran.out[ran.out.index("REQUESTS OF") :].splitlines()
    headings = "REQUESTS OF IN FLIGHT WAITING PER S FIRST P50 P95 ANSWERED FAILED REFUSED LEFT"
    assert rows[0].split() == headings.split()
    assert [" ".join(row.split()) for row in rows[1:4]] == [
        "all-MiniLM-L6-v2 8 12 118 rows 210 ms 210 ms 840 ms 480 0 3 0",
        "e5-small (synthetic) 0 0 - 8.4 ms 8.4 ms 12 ms 24 0 0 0",
        "phi-3-mini (synthetic) 1 2 7.3 tokens 360 ms 4.10 s 12.4 s 31 1 0 2",
    ]
    assert rows[4].startswith("times: of the requests answered in the last 5 minutes, at most the newest 512;")
    assert "bge-base" not in "".join(rows)


async def test_how_requests_fare_is_in_the_json_and_the_csv_in_numbers(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    engine.set_requests(FARING)
    models = {m["name"]: m for m in json.loads((await citadel("status", "--json")).out)["models"]}
    assert models["phi-3-mini"]["request_figures"] == {
        "waiting": 2,
        "in_flight": 1,
        "per_s": 7.3,
        "first_part_s": 0.36,
        "p50_s": 4.1,
        "p95_s": 12.4,
        "answered": 31,
        "failed": 1,
        "refused": 0,
        "left": 2,
        "ever_answered": 0,
        "ever_done": 0,
    }
    assert models["bge-base"]["request_figures"] is None
    rows = {r["name"]: r for r in csv.DictReader((await citadel("status", "--csv", "models")).out.splitlines())}
    assert (rows["all-MiniLM-L6-v2"]["per_s"], rows["all-MiniLM-L6-v2"]["waiting"]) == ("118.0", "12")
    assert (rows["bge-base"]["p95_s"], rows["bge-base"]["answered"]) == ("", "0")
