"""`citadel log` and `citadel monitor`: what happened, and what is measured."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
import sys
from pathlib import Path

import msgspec

from engine.core.commands import Move, Submission
from engine.core.records import Record, Residency, Switch
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine


async def test_the_log_says_what_moved_how_long_it_took_and_who_left(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    await citadel("load", "bge-base", "--on", "gpu0", "--yes")
    lines = (await citadel("log", "-n", "1")).out.splitlines()
    words = "bge-base (synthetic) → gpu0, out: phi-3-mini (synthetic)  0.20 s (predicted 0.21 s)"
    assert len(lines) == 1
    assert lines[0].endswith(f"{words}  copy 0.15 bind 0.01 warm 0.04")


async def test_refusals_and_notices_are_in_the_log_too(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.add_notice("the worker of gpu1 was killed\x1b[2J")
    await engine.submit(Submission("1", Move("bge-base", "gpu7")))
    lines = [re.sub(r"^\S+ \S+  ", "", line) for line in (await citadel("log")).out.splitlines()]
    assert lines == [
        "warning: the worker of gpu1 was killed�[2J",
        "refused: move bge-base (synthetic) to gpu7: there is no device gpu7",
    ]


async def test_the_engines_notes_to_itself_do_not_crowd_out_the_news(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base")
    engine.add_entry(Residency(engine.now_s, (("bge-base", "gpu0"),), {}))
    shown = (await citadel("log", "-n", "1")).out.splitlines()
    as_json = (await citadel("log", "-n", "1", "--json")).out.splitlines()
    assert ["→ gpu0" in line for line in shown] == [True]
    assert ['"type":"residency"' in line for line in as_json] == [True]


async def test_json_lines_are_the_journals_own_records(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base")
    (line,) = (await citadel("log", "--json")).out.splitlines()
    record = msgspec.json.decode(line, type=Record)
    assert isinstance(record.entry, Switch)


async def test_following_goes_on_until_it_is_interrupted(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.add_notice("before")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "citadel_tui", "log", "--follow"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"before" in await process.stdout.readline()
    engine.add_notice("after")
    assert b"after" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _out, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")


async def test_a_reader_that_leaves_early_is_no_error(citadel: Citadel, engine: ScriptedEngine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "citadel_tui", "status"), stdout=writing, stderr=asyncio.subprocess.PIPE
    )
    os.close(writing)
    _out, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_the_monitor_samples_from_the_start_to_the_end_of_its_duration(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    file = tmp_path / "memory.csv"
    ran = await citadel("monitor", "--duration", "0.02", "--interval", "0.01", "--output", str(file))
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert (ran.status, ran.out) == (0, "")
    assert [row["id"] for row in rows] == ["gpu0", "gpu1", "cpu"] * 3


async def test_the_monitor_writes_json_lines_too(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("monitor", "--duration", "0.01", "--interval", "0.01", "--format", "jsonl")
    samples = [json.loads(line) for line in ran.out.splitlines()]
    assert [sample["version"] for sample in samples] == [1, 1]
    assert {device["total_bytes"] for device in samples[0]["devices"]} == {640 << 20, 4 << 30}


async def test_a_file_that_can_not_be_written_is_named(
    citadel: Citadel, engine: ScriptedEngine, tmp_path: Path
) -> None:
    ran = await citadel("monitor", "--output", str(tmp_path))
    assert ran.status == 1
    assert str(tmp_path) in ran.err
    assert "nothing was recorded" in ran.err
