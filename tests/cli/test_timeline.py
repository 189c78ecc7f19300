"""`citadel timeline`: the recorded past as text, picture and JSON, with an engine and without."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from citadel_tui.cli.past.timeline import moment_s
from citadel_tui.timeline.picture import style_of
from citadel_tui.viewmodel.model_colours import BLOCKS
from engine.core.commands import Load, Submission
from engine.core.records import Record
from engine.paths import find_paths, make_folders
from engine.recording.files import Bounds
from engine.recording.journal import Journal
from engine.recording.memory import MemoryLog
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.timeline.night import BGE, PHI, Night
from tests.timeline.night_engine import NOW, whole_night


async def kept_night() -> Night:
    """The night as it was until now, written down where the command looks."""
    night = whole_night(int(time.time()) + 0.5 - NOW)  # far from where rounding moves a second that is told
    paths = find_paths(os.environ)
    make_folders(paths)
    journal, memory = Journal(paths.journal, Bounds(1 << 20, 3)), MemoryLog(paths.memory, Bounds(1 << 20, 3))
    for record in night.records:
        await journal.append(record)
    await memory.append(night.sample(1400, PHI))
    return night


async def test_the_past_is_drawn_without_an_engine(citadel: Citadel, citadel_home: Path) -> None:
    night = await kept_night()
    ran = await citadel("timeline", "--from", "50m")
    assert ran.status == 0
    head, gpu0, _, gpu1, *_ = ran.out.splitlines()
    assert " to " in head
    assert "phi-3×━bge!" in gpu0
    assert gpu1.startswith(" gpu1")
    assert "·!·" in gpu1
    assert f"what is kept begins at {datetime.fromtimestamp(night.began_s + 60):%Y-%m-%d %H:%M:%S}" in ran.err


async def test_programs_get_stays_edges_and_their_records(citadel: Citadel, citadel_home: Path) -> None:
    night = await kept_night()
    ran = await citadel("timeline", "--from", "50m", "--json")
    told = msgspec.json.decode(ran.out)
    assert (told["version"], told["devices"]) == (1, ["gpu0", "gpu1"])
    first = next(stay for stay in told["stays"] if stay["model"] == PHI)
    assert (first["device"], first["ready_s"], first["ended_s"], first["end"]) == (
        "gpu0",
        night.began_s + 60,
        pytest.approx(night.began_s + 420.1),
        "victim",
    )
    assert {failed["reason"] for failed in told["failures"]} == {"the card was lost"}
    records = [edge["record"] for edge in told["edges"]]
    assert msgspec.convert(records[-1], Record) == night.records[-1]


async def test_only_what_was_then_is_told(citadel: Citadel, citadel_home: Path) -> None:
    await kept_night()
    ran = await citadel("timeline", "--from", f"{NOW - 360}s", "--to", f"{NOW - 480}s", "--json")
    told = msgspec.json.decode(ran.out)
    assert {stay["model"] for stay in told["stays"]} == {PHI, BGE, "e5-small"}
    assert len(told["edges"]) == 1


async def test_a_picture_has_the_lanes_in_the_models_colours(
    citadel: Citadel, tmp_path: Path, citadel_home: Path
) -> None:
    await kept_night()
    path = tmp_path / "night.svg"
    ran = await citadel("timeline", "--from", "50m", "-o", str(path))
    assert (ran.status, ran.out) == (0, "")
    svg = path.read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "phi-3-mini" in svg.replace("&#160;", " ")
    colours = [style_of(block).color for block in BLOCKS]
    used = [colour for colour in colours if colour is not None and colour.name in svg]
    assert len(used) == 3


async def test_what_goes_on_now_is_the_end_of_it(citadel: Citadel, engine: ScriptedEngine) -> None:
    await kept_night()
    engine.now_s = time.time() - 3
    await engine.submit(Submission("now", Load("bge-base", "gpu0")))
    ran = await citadel("timeline", "--json")
    assert ran.status == 0
    told = msgspec.json.decode(ran.out)
    assert told["devices"] == ["gpu0", "gpu1", "cpu"]
    there = [(stay["model"], stay["device"]) for stay in told["stays"] if stay["ended_s"] is None]
    assert there == [("bge-base", "gpu0")]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--from", "soon"), 2, "'soon' is no time; write 30m, 8h or 2d for so long ago, 22:00, or 2026-11-28T22:00"),
        (("-o", "night.png"), 1, "night.png can't be drawn: only .svg is; nothing was written"),
        (("-o", "nowhere/night.svg"), 1, "nowhere/night.svg can't be written"),
        (("--from", "1h", "--to", "2h"), 1, "--from 1h is not before --to 2h"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(
    citadel: Citadel, citadel_home: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    await kept_night()
    ran = await citadel("timeline", *arguments)
    assert ran.status == status
    assert said in ran.err


async def test_where_nothing_is_recorded_it_says_what_would_give_some(citadel: Citadel, citadel_home: Path) -> None:
    ran = await citadel("timeline")
    assert ran.status == 1
    assert "holds no record of an engine; start one with `citadel`" in ran.err


def test_times_are_what_people_mean() -> None:
    noon = datetime(2027, 1, 15, 12, 0).timestamp()
    assert moment_s("90s", noon) == noon - 90
    assert moment_s("1.5h", noon) == noon - 5400
    assert moment_s("2d", noon) == noon - 172_800
    assert moment_s("11:30", noon) == noon - 1800
    assert moment_s("13:00", noon) == noon - 23 * 3600
    assert moment_s("2027-01-15T08:00", noon) == noon - 4 * 3600
