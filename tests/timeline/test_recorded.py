"""The past from files: the newest of what is kept, whatever state the files are in."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from citadel_tui.timeline.recorded import recorded_past
from engine.paths import Paths, find_paths, make_folders
from engine.recording.files import Bounds, newest_lines
from engine.recording.journal import CURRENT, Journal
from engine.recording.memory import MEMORY_FILE, EngineFacts, MemoryLine, MemoryLog
from tests.results.engine_records import engine_facts
from tests.timeline.night import BEGAN_S, HELLO, PHI, Night
from tests.timeline.night_engine import whole_night

PLENTY = Bounds(1 << 20, 3)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = find_paths({"CITADEL_HOME": str(tmp_path)})
    make_folders(found)
    return found


def facts(at: float) -> EngineFacts:
    return replace(engine_facts(), at_s=BEGAN_S + at + 0.5, hello=replace(HELLO, started_at_s=BEGAN_S + at))


async def write(paths: Paths, night: Night, lines: list[MemoryLine], bounds: Bounds = PLENTY) -> None:
    journal, memory = Journal(paths.journal, bounds), MemoryLog(paths.memory, bounds)
    for record in night.records:
        await journal.append(record)
    for line in lines:
        await memory.append(line)


async def test_both_files_together_tell_what_was_told_at_the_time(paths: Paths) -> None:
    night = Night()
    lines: list[MemoryLine] = [facts(0)]
    night.started()
    night.load(60, PHI, "gpu0")
    lines += [night.sample(at, PHI) for at in (80, 110, 140)]
    night.started(1000)
    night.load(1030, PHI, "gpu1", origin="restore")
    await write(paths, night, [*lines, facts(1000)])

    past = recorded_past(paths)

    stays = [(stay.device, stay.ready_s - BEGAN_S, stay.ended_s, stay.end) for stay in past.stays]
    assert stays == [("gpu0", 60, BEGAN_S + 140, "down"), ("gpu1", 1030, None, "")]
    assert [(gap.from_s - BEGAN_S, gap.until_s - BEGAN_S) for gap in past.gaps] == [(140, 1000)]
    assert past.stays[0].uses[0].until_s == BEGAN_S + 140
    assert past.last == night.records[-1]


async def test_of_a_journal_that_was_rotated_the_newest_is_read_and_it_is_known_where_that_begins(paths: Paths) -> None:
    night = whole_night()
    await write(paths, night, [], Bounds(4000, 2))
    kept = recorded_past(paths)
    assert kept.last == night.records[-1]
    assert kept.since_s is not None
    assert kept.since_s > BEGAN_S
    assert 0 < len(kept.edges) < len(night.chronicle.edges)


async def test_no_more_is_read_than_is_wanted_and_no_line_in_part(paths: Paths) -> None:
    await write(paths, whole_night(), [], Bounds(4000, 9))
    for most_bytes in (1, 700, 3000, 9000):
        lines = newest_lines(paths.journal, CURRENT, most_bytes)
        assert sum(len(line) + 1 for line in lines) <= most_bytes
        assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines)
    assert len(newest_lines(paths.journal, CURRENT, 1 << 20)) == len(whole_night().records)


async def test_lines_that_cannot_be_read_cost_themselves_only(paths: Paths) -> None:
    night = whole_night()
    await write(paths, night, [facts(0)])
    for path in (paths.journal / CURRENT, paths.memory / MEMORY_FILE):
        path.write_bytes(b'{"no": "record"}\n\xff\xfe\n' + path.read_bytes() + b'{"torn')
    assert recorded_past(paths).last == night.records[-1]


async def test_a_clock_that_was_set_back_leaves_the_files_in_their_order(paths: Paths) -> None:
    night = Night()
    night.load(7200, PHI, "gpu0")
    samples: list[MemoryLine] = [night.sample(7230, PHI)]
    night.load(60, PHI, "gpu1")  # two hours were taken off
    await write(paths, night, [*samples, night.sample(90, PHI)])
    past = recorded_past(paths)
    assert {stay.device for stay in past.stays if stay.ended_s is None} == {"gpu0", "gpu1"}
    assert max(stay.ready_s for stay in past.stays) <= BEGAN_S + 90
    assert past.until_s == BEGAN_S + 90


def test_without_files_nothing_is_known(paths: Paths) -> None:
    assert recorded_past(paths).since_s is None
