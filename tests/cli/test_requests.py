"""`citadel requests`: who asks for what now, and the end of one request."""

from __future__ import annotations

import json

from engine.core.insight.request_figures import Asker, RequestUnderWay
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine

WRITER = RequestUnderWay(3, Asker(key="app"), "phi-3-mini", "generation", 200, 12.0, "gpu0", 10.0, 41)
ROWS = RequestUnderWay(7, Asker(pid=4242, process="python3", user="ann"), "bge-base", "embedding", 8, 2.0)


async def test_requests_are_a_table_the_oldest_first(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.under_way = (WRITER, ROWS)
    ran = await citadel("requests")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "NUMBER  WHO                 MODEL                   WHERE    AGE  SO FAR",
        "     3  key app             phi-3-mini (synthetic)  gpu0     12s  41 of 200 tokens",
        "     7  python3 4242 (ann)  bge-base (synthetic)    waiting   2s  8 rows",
        "",
        "2 requests under way",
    ]


async def test_no_request_is_said_in_words(citadel: Citadel, engine: ScriptedEngine) -> None:
    assert (await citadel("requests")).out == "no request is under way\n"


async def test_programs_get_seconds_and_counts(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.under_way = (WRITER, ROWS)
    report = json.loads((await citadel("requests", "--json")).out)
    assert (report["version"], report["count"]) == (1, 2)
    writer, rows = report["requests"]
    assert writer["asker"]["key"] == "app"
    assert (writer["device"], writer["parts"], writer["work"], writer["age_s"]) == ("gpu0", 41, 200, 12.0)
    assert (rows["asker"]["pid"], rows["asker"]["user"], rows["device"]) == (4242, "ann", None)


async def test_cancelling_says_what_was_cancelled(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.under_way = (WRITER, ROWS)
    ran = await citadel("requests", "cancel", "7")
    assert (ran.status, ran.out, engine.cancelled) == (0, "", [7])
    assert ran.err == (
        "citadel: cancelled: request 7 of bge-base (synthetic), asked by python3 4242 (ann) 2s ago, 8 rows, waiting; whoever"
        " waits for it is told\n"
    )


async def test_a_number_that_no_request_has_is_said_to_be_over(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("requests", "cancel", "7")
    assert ran.status == 1
    assert "no request under way has the number 7" in ran.err
