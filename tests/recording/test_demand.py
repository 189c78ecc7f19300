"""The recorded demand: one trace over all files and restarts, which a replay can read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.recording.demand import DEMAND_FILE, Asked, DemandLog, own_demand
from engine.recording.files import Bounds, NotWritten
from engine.recording.trace import HEADING, TraceError, read_trace

NOW_S = 1_800_000_000.0
BOUNDS = Bounds(1 << 20, 3)


async def ask(log: DemandLog, folder: Path, *requests: tuple[float, str, int], ahead_s: float = 0.0) -> None:
    """Requests so many seconds after NOW_S, when the wall clock is ahead by so much; the file's time of last change is theirs, as
    it would be."""
    for after_s, model, work in requests:
        wall_s = NOW_S + after_s + ahead_s
        await log.append(Asked(wall_s, after_s, model, work))
        os.utime(folder / DEMAND_FILE, (wall_s, wall_s))


async def test_the_file_is_a_trace_that_counts_from_the_first_request(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (2.5, "b", 16))

    text = (tmp_path / DEMAND_FILE).read_text()
    assert text == f"{HEADING}\n0.000,a,1\n2.500,b,16\n"
    assert len(read_trace(text.splitlines())) == 2


async def test_seconds_go_on_after_a_restart_with_the_time_between_included(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (10, "a", 1))
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (3600, "b", 1))

    demand = own_demand(tmp_path)
    assert [request.at_s for request in demand.requests] == [0, 10, 3600]
    assert demand.began_s == NOW_S


async def test_seconds_go_on_from_file_to_file(tmp_path: Path) -> None:
    log = DemandLog(tmp_path, Bounds(60, 5))
    await ask(log, tmp_path, *((float(second), "model", 1) for second in range(12)))

    assert (tmp_path / f"{DEMAND_FILE}.1").exists()
    assert [request.at_s for request in own_demand(tmp_path).requests] == list(range(12))


async def test_seconds_go_on_when_the_disk_was_full_just_as_a_new_file_began(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (10, "a", 1))
    (tmp_path / DEMAND_FILE).rename(tmp_path / f"{DEMAND_FILE}.1")
    (tmp_path / DEMAND_FILE).write_text(HEADING[:5])

    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (20, "b", 1))
    assert [request.at_s for request in own_demand(tmp_path).requests] == [0, 10, 20]


@pytest.mark.parametrize("ahead_s", [86_400.0, -86_400.0])
async def test_a_clock_that_is_set_while_the_engine_runs_moves_no_request(ahead_s: float, tmp_path: Path) -> None:
    log = DemandLog(tmp_path, BOUNDS)
    await ask(log, tmp_path, (0, "a", 1), (50, "a", 1), ahead_s=ahead_s)
    await ask(log, tmp_path, (60, "b", 1), (61, "b", 1))
    await ask(log, tmp_path, (62, "c", 1), ahead_s=-ahead_s)

    assert [request.at_s for request in own_demand(tmp_path).requests] == [0, 50, 60, 61, 62]


async def test_after_a_clock_that_was_ahead_the_trace_goes_on_without_a_gap(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (50, "a", 1), ahead_s=86_400.0)
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (70, "c", 1), (75, "c", 1))

    assert [request.at_s for request in own_demand(tmp_path).requests] == [0, 50, 50, 55]


async def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (5, "b", 1))
    path = tmp_path / DEMAND_FILE
    path.write_bytes(path.read_bytes()[:-3])
    os.utime(path, (NOW_S + 5, NOW_S + 5))
    assert [request.model for request in own_demand(tmp_path).requests] == ["a"]

    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (9, "c", 1))
    assert [request.model for request in own_demand(tmp_path).requests] == ["a", "c"]


async def test_demand_that_cannot_be_written_says_what_is_lost_by_it(tmp_path: Path) -> None:
    (tmp_path / DEMAND_FILE).mkdir()

    with pytest.raises(NotWritten, match=r"demand\.csv can't be read: Is a directory; requests are not recorded"):
        await DemandLog(tmp_path, BOUNDS).append(Asked(NOW_S, 0.0, "a", 1))


def test_no_demand_and_damaged_demand_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds no recorded demand"):
        own_demand(tmp_path)

    (tmp_path / DEMAND_FILE).write_text("t_s,model\n1,a\n")
    with pytest.raises(TraceError, match=r"2 lines of .*demand\.csv can't be read .* line 1: 2 fields where 3 belong"):
        own_demand(tmp_path)


async def test_damaged_lines_cost_themselves_and_are_counted(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (5, "b", 1), (7, "c", 1), (9, "d", 1))
    path = tmp_path / DEMAND_FILE
    path.write_bytes(path.read_bytes().replace(b"5.000,b", b"5000.000,b").replace(b"7.000,c", b"7.000,\xff"))

    demand = own_demand(tmp_path)

    assert [request.model for request in demand.requests] == ["a", "d"]
    assert demand.left_out.startswith("2 lines of")


async def test_numbers_go_on_after_the_last_line_that_can_be_read(tmp_path: Path) -> None:
    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (0, "a", 1), (5, "b", 1), (6, "c", 1))
    path = tmp_path / DEMAND_FILE
    path.write_bytes(path.read_bytes().replace(b"6.000,", b"nan,"))
    os.utime(path, (NOW_S + 5, NOW_S + 5))

    await ask(DemandLog(tmp_path, BOUNDS), tmp_path, (9, "d", 1))

    assert [request.at_s for request in own_demand(tmp_path).requests] == [0, 5, 9]
