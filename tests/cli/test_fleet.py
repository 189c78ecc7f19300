"""`citadel fleet COMMAND` over a scripted fleet, and `citadel --host`: the same commands, another engine."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import engine.ssh_forward
from citadel_tui.cli.parser import SPEAK_TO_AN_ENGINE, parse
from engine.api import EngineUnreachable
from engine.core.catalog import CatalogChange
from engine.core.commands import Load, SetPin
from engine.core.names import CPU
from engine.paths import Paths, find_paths, fleet_file, fleet_paths
from tests.cli.conftest import Citadel
from tests.fleet_snapshots import DRAINED, SILENT, ScriptedFleet
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


@pytest.fixture
async def fleet() -> AsyncIterator[ScriptedFleet]:
    """Served where a fleet's service is looked for, with one box of three silent."""
    scripted = ScriptedFleet(box3=SILENT)
    async with serving(scripted, fleet_paths(find_paths(os.environ))):
        yield scripted


async def test_status_has_the_box_in_its_table_its_csv_and_its_json(citadel: Citadel, fleet: ScriptedFleet) -> None:
    shown = (await citadel("fleet", "status")).out
    assert shown.startswith("fleet of 3 boxes, 1 silent, its service 0.1.0 on scripted")
    assert "\nbox3: silent since " in shown
    assert "box2  gpu0    ok" in shown
    assert "box3  gpu0    stale 12s" in shown
    rows = list(csv.DictReader((await citadel("fleet", "status", "--csv")).out.splitlines()))
    assert [(row["box"], row["id"]) for row in rows][3:5] == [("box2", "box2/gpu0"), ("box2", "box2/gpu1")]
    report = json.loads((await citadel("fleet", "status", "--json")).out)
    assert list(report["boxes"]) == ["box1", "box2", "box3"]
    assert report["boxes"]["box3"]["standing"] == "silent"
    assert report["devices"][0]["box"] == "box1"
    assert [alert["text"].partition(":")[0] for alert in report["alerts"]] == ["box3 is silent"]


async def test_a_model_is_loaded_on_a_box(citadel: Citadel, fleet: ScriptedFleet) -> None:
    ran = await citadel("fleet", "load", "phi-3-mini", "--on", "box1/gpu1", "--yes")
    assert (ran.status, fleet.submissions[-1].command) == (0, Load("phi-3-mini", "box1/gpu1"))
    assert "on box1/gpu1" in ran.out
    await citadel("fleet", "pin", "phi-3-mini", "--on", "box1/cpu", "-y")
    assert fleet.submissions[-1].command == SetPin("phi-3-mini", "box1/cpu")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("bxo2/gpu0", "no box is named bxo2 (did you mean box2?)"),
        ("box2/gpu9", "box2 has no gpu9; it has box2/gpu0"),
        ("gpu0", "which box's gpu0? write box1/gpu0, box2/gpu0 or box3/gpu0"),
        ("box2/", "'box2/' is not a device"),
        ("Box2/gpu0", "'Box2/gpu0' is not a device"),
    ],
)
@pytest.mark.parametrize("command", ["load phi-3-mini --on", "plan load phi-3-mini --on", "drain", "restart-worker"])
async def test_a_device_that_there_is_not_is_told_with_what_may_be_meant(
    citadel: Citadel, fleet: ScriptedFleet, command: str, device: str, words: str
) -> None:
    ran = await citadel("fleet", *command.split(), device)
    assert (ran.status, fleet.submissions) == (1 if device[-1] != "/" and device[0] != "B" else 2, [])
    assert words in ran.err


async def test_commands_speak_to_the_fleet_and_not_to_the_engine_that_is_here(
    citadel: Citadel, fleet: ScriptedFleet, engine: ScriptedEngine
) -> None:
    assert (await citadel("fleet", "embed", "bge-base", "a text")).status == 0
    assert (len(fleet.asked), len(engine.asked)) == (1, 0)
    assert (await citadel("embed", "bge-base", "a text")).status == 0
    assert (len(fleet.asked), len(engine.asked)) == (1, 1)
    devices = (await citadel("fleet", "completion", "devices")).out.split()
    assert devices[:3] == ["box1/gpu0", "box1/gpu1", "box1/cpu"]


@pytest.mark.parametrize(
    "command", ["why bge-base", "log", "requests", "timeline", "gpus", "timeline --json", "plan evict bge-base"]
)
async def test_what_only_looks_works_over_a_fleet(citadel: Citadel, fleet: ScriptedFleet, command: str) -> None:
    await citadel("fleet", "evict", "e5-small", "-y")
    ran = await citadel("fleet", *command.split())
    assert ran.status == (1 if command == "gpus" else 0), ran.err  # the GPUs of a box are silent
    assert {"log": "e5-small", "gpus": "box3/gpu1", "timeline": "box2/gpu0"}.get(command, "") in ran.out


async def test_where_no_service_runs_the_words_say_how_to_begin(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("fleet", "status")
    assert ran.status == 2
    assert f"there is no fleet: {fleet_file(os.environ)} lists its boxes and does not exist" in ran.err
    assert (await citadel("fleet", "serve")).err == ran.err
    fleet_file(os.environ).write_text("boxes:\n  box1: {}\n")
    assert (
        "the fleet's service does not run; `citadel fleet serve` starts it" in (await citadel("fleet", "load", "x")).err
    )
    assert (await citadel("status")).status == 0


async def test_the_fleets_file_is_read_again(citadel: Citadel, fleet: ScriptedFleet) -> None:
    fleet.set_boxes(box2=DRAINED)
    ran = await citadel("fleet", "reload")
    assert (ran.status, fleet.reloads) == (0, 1)
    assert ran.out.startswith("fleet of 3 boxes, 1 silent, 1 drained; ")
    fleet.catalog_change = CatalogChange(remarks=("models in fleet.yaml: no model is named bge-bass",))
    assert "no model is named bge-bass" in (await citadel("fleet", "reload")).err
    fleet.catalog_mistake = "fleet.yaml: boxes.box9: there is no such box"
    assert (await citadel("fleet", "reload")).status == 1


async def test_models_on_a_box_that_is_not_heard_are_not_said_to_be_ready(
    citadel: Citadel, fleet: ScriptedFleet
) -> None:
    states = {line.split()[0]: line for line in (await citadel("fleet", "status", "--plain")).out.splitlines() if line}
    assert "box3/cpu" in states["e5-small"]
    assert " unheard " in states["e5-small"]
    assert " ready " in states["bge-base"]
    said = (await citadel("fleet", "why", "e5-small")).out
    assert said.startswith("e5-small (synthetic) is unheard on box3/cpu, where it was ready\n")


async def test_the_service_is_ended(citadel: Citadel, fleet: ScriptedFleet) -> None:
    ran = await citadel("fleet", "stop")
    assert (ran.status, ran.out) == (0, "the fleet's service has ended; its boxes and their models stay\n")
    assert fleet.stopped


# ── another machine's engine ──────────────────────────────────────────────────────────────────────


@pytest.fixture
async def far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedEngine]:
    """The engine of box2, which a forward that is none leads to."""
    paths = Paths(tmp_path / "far" / "run", tmp_path / "far" / "state", tmp_path / "far" / "cache")

    @asynccontextmanager
    async def forwarded(host: str, _: Paths) -> AsyncIterator[Path]:
        if host != "box2":
            raise EngineUnreachable(f"ssh {host} ended: no such host")
        yield paths.socket

    monkeypatch.setattr(engine.ssh_forward, "forwarded", forwarded)
    scripted = ScriptedEngine()
    async with serving(scripted, paths):
        yield scripted


async def test_another_machines_engine_is_spoken_to_without_a_fleet(
    citadel: Citadel, engine: ScriptedEngine, far: ScriptedEngine
) -> None:
    assert (await citadel("--host", "box2", "load", "bge-base", "--on", "gpu1", "-y")).status == 0
    assert far.submissions[-1].command == Load("bge-base", "gpu1")
    assert engine.submissions == []
    assert CPU in (await citadel("--host", "box2", "status")).out


async def test_a_machine_that_is_not_reached_is_told_in_sshs_words(citadel: Citadel, far: ScriptedEngine) -> None:
    ran = await citadel("--host", "box9", "status")
    assert (ran.status, ran.err) == (2, "citadel: ssh box9 ended: no such host\n")
    far.stopped = True


async def test_a_box_is_named_only_where_there_are_boxes(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("load", "bge-base", "--on", "box2/gpu0")
    assert "boxes are a fleet's, and this engine has none: write gpu0" in ran.err


@pytest.mark.parametrize("command", ["doctor", "bench", "fleet", "stop", "models list"])
def test_what_is_done_on_the_spot_does_not_go_by_host(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["--host", "box2", *command.split()])
    assert f"run it there: ssh box2 citadel {command.split()[0]}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", SPEAK_TO_AN_ENGINE)
def test_what_speaks_to_an_engine_speaks_to_a_fleet(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["fleet", command, "--help"])
    told = capsys.readouterr().out
    assert f"usage: citadel fleet {command}" in told
    assert "--config" not in told
