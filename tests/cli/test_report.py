"""`citadel report`: the document from the recorded files, compared with one that was read and found right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from citadel_tui.cli.texts.report import document
from engine.core.policy import Policy
from engine.core.records import Entry
from engine.paths import find_paths, make_folders
from engine.recording.demand import Asked, DemandLog
from engine.recording.files import Bounds
from engine.recording.journal import Journal
from engine.recording.memory import MemoryLine, MemoryLog
from engine.results.recorded import gather_records
from tests.cli.conftest import Citadel
from tests.results.engine_records import BEGAN_S, engine_facts, sample, switch

GOLDEN = Path(__file__).parent / "golden_report.md"
BOUNDS = Bounds(1 << 20, 3)
PRESSED = [
    switch(30 + second, "large", f"gpu{second // 2 % 2}", victim="small", copy_s=0.1 + 0.01 * second)
    for second in range(0, 40, 2)
]


async def record(lines: list[MemoryLine], entries: list[Entry], asked: list[Asked]) -> None:
    """As the engine would, where the command looks."""
    paths = find_paths(os.environ)
    make_folders(paths)
    memory, journal, demand = (
        MemoryLog(paths.memory, BOUNDS),
        Journal(paths.journal, BOUNDS),
        DemandLog(paths.demand, BOUNDS),
    )
    for line in lines:
        await memory.append(line)
    for entry in entries:
        await journal.append(journal.number(entry))
    for one in asked:
        await demand.append(one)
    if asked:
        os.utime(paths.demand / "demand.csv", (asked[-1].at_s, asked[-1].at_s))


async def record_a_day() -> None:
    lines: list[MemoryLine] = [engine_facts(), *(sample(second, 100, 100) for second in (0, 10, 20, 30))]
    lines += [sample(31 + second, 480, 400 + second) for second in range(40)]
    entries: list[Entry] = [
        switch(1, "small", tier="source", copy_s=2.0),
        switch(2, "large", "cpu", tier="disk", copy_s=0.0),
        switch(3, "large", "cpu", origin="restore", copy_s=0.0),
        *PRESSED,
        switch(75, outcome="failed"),
    ]
    asked = [Asked(BEGAN_S + second, float(second), "large" if second % 3 else "small", 1) for second in range(60)]
    await record(lines, entries, asked)


async def test_the_document_is_the_one_that_was_read_and_found_right(citadel_home: Path) -> None:
    await record_a_day()
    paths = find_paths(os.environ)

    written = document(gather_records(paths.journal, paths.memory, paths.demand), BEGAN_S + 3600)

    measured, heading, calculated = written.partition("## The reference box, by calculation\n")
    assert measured == GOLDEN.read_text(encoding="utf-8")
    assert "Calculated, not measured" in calculated
    assert heading


async def test_the_command_writes_it_without_an_engine_and_prints_the_verdicts(
    citadel: Citadel, tmp_path: Path
) -> None:
    await record_a_day()

    ran = await citadel("report", "--output", str(tmp_path / "results.md"))

    assert ran.status == 0
    assert [line.split("  ")[0] for line in ran.out.splitlines()] == ["PASS", "PASS", "PASS", "PASS"]
    assert (tmp_path / "results.md").read_text().startswith("# GPU memory allocation strategy: results\n")
    assert os.listdir(tmp_path) == ["results.md"]


async def test_a_report_replaces_a_report_and_nothing_else(citadel: Citadel, tmp_path: Path) -> None:
    await record_a_day()
    path = tmp_path / "results.md"
    assert [(await citadel("report", "--output", str(path))).status for _ in range(2)] == [0, 0]

    path.write_text("my own notes")
    ran = await citadel("report", "--output", str(path))

    assert ran.status == 1
    assert "is there and is no report; it was left alone" in ran.err
    assert path.read_text() == "my own notes"


async def test_without_records_nothing_is_written_and_it_says_what_would_give_some(
    citadel: Citadel, tmp_path: Path
) -> None:
    ran = await citadel("report", "--output", str(tmp_path / "results.md"))

    assert ran.status == 1
    assert "holds no record of an engine; start one with `citadel`" in ran.err
    assert not (tmp_path / "results.md").exists()


async def test_little_data_gives_no_verdict_but_says_what_would(citadel: Citadel, tmp_path: Path) -> None:
    await record([engine_facts(), sample(0, 100, 100)], [], [])

    ran = await citadel("report", "--output", str(tmp_path / "results.md"))

    assert ran.out.count("not enough data") == 4
    assert all(command in ran.out for command in ("citadel drive", "citadel bench", "citadel selftest"))
    assert "holds no recorded demand" in ran.err


async def test_figures_of_another_configuration_are_left_out(citadel_home: Path) -> None:
    earlier = engine_facts(policy=Policy(eviction="lru"))
    lines: list[MemoryLine] = [earlier, sample(0, 480, 480), engine_facts(BEGAN_S + 60), sample(60, 0, 0)]
    await record(lines, [switch(0), switch(61)], [])
    paths = find_paths(os.environ)

    found = gather_records(paths.journal, paths.memory, paths.demand)

    assert (len(found.engines), len(found.samples), len(found.switches)) == (1, 1, 1)
    assert found.facts.hello.policy == Policy()


async def test_a_damaged_line_costs_that_line_only(citadel: Citadel, tmp_path: Path) -> None:
    await record_a_day()
    paths = find_paths(os.environ)
    for path in (paths.memory / "memory.jsonl", paths.journal / "journal.jsonl"):
        path.write_bytes(path.read_bytes() + b'{"type": "nonsense"}\n{"torn')

    assert (await citadel("report", "--output", str(tmp_path / "results.md"))).status == 0


@pytest.mark.parametrize("place", ["nowhere/results.md", "."])
async def test_a_place_that_cannot_be_written_is_named(citadel: Citadel, tmp_path: Path, place: str) -> None:
    await record_a_day()
    ran = await citadel("report", "--output", str(tmp_path / place))

    assert ran.status == 1
    assert "can't be written" in ran.err
