"""`citadel status` where the GPUs are cards: what others hold, how warm they are, and how long a silent one has been silent."""

from __future__ import annotations

import csv
import json

from msgspec.structs import replace

from citadel_tui.words.figures import clock_text
from engine.core.devices import Neighbour, Reading
from engine.core.records import Notice
from engine.core.sizes import MIB
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S

NEIGHBOURS = (Neighbour(4321, "python train.py", 60 * MIB), Neighbour(99, "\x1b[2J", None))


async def set_readings(engine: ScriptedEngine, **readings: Reading) -> None:
    state = (await engine.snapshot()).state
    known = {name: replace(state.devices[name], reading=reading) for name, reading in readings.items()}
    known["gpu0"] = replace(known["gpu0"], context_bytes=20 * MIB, copy_bytes_per_s=2e9)
    engine.set_state(replace(state, devices={**state.devices, **known}))


def warm_card() -> Reading:
    return Reading("ok", "", 80 * MIB, 60 * MIB, 54, 7, NEIGHBOURS, START_S)


async def test_the_table_shows_what_others_hold_who_they_are_and_how_warm_a_card_is(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await set_readings(engine, gpu0=warm_card(), gpu1=Reading("lost", "it is gone", at_s=START_S - 12, mono_s=-12.0))
    lines = (await citadel("status")).out.splitlines()
    head = next(line.split() for line in lines if line.startswith("DEVICE"))
    assert head[:7] == ["DEVICE", "HEALTH", "MODELS", "CONTEXT", "EXTERNAL", "USED", "BUDGET"]
    assert next(line.split() for line in lines if line.startswith("gpu0 "))[3:6] == ["20", "60", "80"]
    assert next(line.split() for line in lines if line.startswith("gpu1 "))[1:6] == ["lost", "0", "0", "-", "-"]
    assert next(line.split() for line in lines if line.startswith("gpu0 "))[-4:] == ["54", "C", "7%", "-"]
    assert f"gpu1: it is gone (lost since {clock_text(START_S - 12)}, 12 s ago)" in lines
    assert "gpu0: process 4321 (python train.py) holds 60 MiB" in lines
    assert "gpu0: process 99 (�[2J) holds memory, nobody says how much" in lines


async def test_the_json_has_the_same_in_numbers_and_its_version_has_not_changed(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await set_readings(engine, gpu0=warm_card())
    report = json.loads((await citadel("status", "--json")).out)
    gpu = report["devices"][0]
    assert report["version"] == 1
    assert (gpu["external_bytes"], gpu["context_bytes"], gpu["temperature_c"]) == (60 * MIB, 20 * MIB, 54)
    assert gpu["neighbours"][0] == {
        **{"pid": 4321, "name": "python train.py", "used_bytes": 60 * MIB},
        **{"user": "", "command": "", "started_s": None},
    }
    assert (gpu["power_w"], gpu["fan_percent"], gpu["driver"]) == (None, None, "")
    assert gpu["neighbours"][1]["used_bytes"] is None
    assert gpu["copy_bytes_per_s"] == 2e9


async def test_programs_get_what_a_card_is_known_by_whatever_its_number(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    state = (await engine.snapshot()).state
    card = replace(state.devices["gpu0"].spec, uuid="GPU-b", bus_id="00000000:02:00.0")
    known = replace(state.devices["gpu0"], spec=card)
    engine.set_state(replace(state, devices={**state.devices, "gpu0": known}))
    in_json = json.loads((await citadel("status", "--json")).out)["devices"]
    in_csv = list(csv.DictReader((await citadel("status", "--csv")).out.splitlines()))
    assert [(d["uuid"], d["bus_id"]) for d in in_json[:2]] == [("GPU-b", "00000000:02:00.0"), (None, None)]
    assert [(d["uuid"], d["bus_id"]) for d in in_csv[:2]] == [("GPU-b", "00000000:02:00.0"), ("", "")]


async def test_figures_that_are_late_carry_their_age_and_are_an_alert_in_the_table_in_json_and_in_csv(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await set_readings(engine, gpu0=replace(warm_card(), mono_s=0.0))
    engine.mono_s = 9.5
    lines = (await citadel("status")).out.splitlines()
    assert next(line.split() for line in lines if line.startswith("gpu0 "))[1:3] == ["stale", "9s"]
    assert "gpu0: it has not been read since (last read 9 s ago)" in lines
    assert "alert: gpu0 is stale: it has not been read since" in lines
    report = json.loads((await citadel("status", "--json")).out)
    assert (report["devices"][0]["health"], report["devices"][0]["age_s"]) == ("stale", 9.5)
    assert [alert["text"] for alert in report["alerts"]] == ["gpu0 is stale: it has not been read since"]
    heading, gpu0 = (line.split(",") for line in (await citadel("status", "--csv")).out.splitlines()[:2])
    assert gpu0[heading.index("age_s")] == "9.5"


async def test_what_is_over_is_told_with_both_times(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.add_entry(Notice(START_S + 1, "error", "gpu0 is lost", condition="gpu0"))
    engine.add_entry(
        Notice(START_S + 2, "info", "gpu0 answers again; it was lost for 1 s", condition="gpu0", over=True)
    )
    lines = (await citadel("status")).out.splitlines()
    times = " to ".join(clock_text(START_S + second) for second in (1, 2))
    assert f"over: {times}  gpu0 answers again; it was lost for 1 s (told then: gpu0 is lost)" in lines
