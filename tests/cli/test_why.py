"""`citadel why`: where a model is, what decided it, and what would come next."""

from __future__ import annotations

import json

from engine.core.commands import Load, Submission
from engine.core.plans import EvictStep, LoadStep, Plan, Room
from engine.core.records import Phases, Switch
from engine.core.sizes import MIB
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import FARING


async def test_a_victim_is_told_for_whom_it_left_and_how_well_that_was_predicted(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    await citadel("load", "bge-base", "--on", "gpu0", "--yes")
    ran = await citadel("why", "phi-3-mini")

    assert (ran.status, ran.err) == (0, "")
    assert "phi-3-mini (synthetic) is on no device" in ran.out
    assert "asked by an operator (record 2): it left to make room for another" in ran.out
    assert "LEAVES phi-3-mini (synthetic) from gpu0 (480 MiB)" in ran.out
    assert "done; took 0.20 s, predicted 0.21 to 0.41 s  copy 0.15 bind 0.01 warm 0.04" in ran.out
    assert "if it were loaded now:\n  loads phi-3-mini (synthetic) on gpu1" in ran.out


async def test_what_was_weighed_is_shown_with_its_figures(citadel: Citadel, engine: ScriptedEngine) -> None:
    steps = (
        EvictStep("e5-small", "gpu0", 141 * MIB, loss_s=0.5, reload_s=0.2),
        LoadStep("bge-base", "gpu0", 438 * MIB, "ram"),
    )
    plan = Plan(Load("bge-base"), steps, ("no device has room",), rooms=(Room("gpu0", 512 * MIB, 371 * MIB),))
    engine.add_entry(Switch("1", plan, "request", engine.now_s, 0.3, Phases(copy=0.3)))
    lines = [line.strip() for line in (await citadel("why", "bge-base")).out.splitlines()]

    assert "losing e5-small (synthetic): 0.50 s = 2.50 expected requests × 0.20 s to bring it back" in lines
    assert "gpu0: 371 MiB free of a budget of 512 MiB" in lines


async def test_a_model_that_is_where_it_was_brought_would_stay(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    ran = await citadel("why", "phi-3-mini")

    assert "phi-3-mini (synthetic) is ready on gpu0" in ran.out
    assert "because gpu0 has room" in ran.out
    assert "if it were loaded now:\n  nothing to do" in ran.out


async def test_a_refusal_names_who_was_in_the_way(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    await citadel("pin", "phi-3-mini")
    await engine.submit(Submission("1", Load("bge-base", "gpu0"), "request"))
    ran = await citadel("why", "phi-3-mini")

    assert "it could not leave for another, which was refused" in ran.out
    assert "how it came to be where it is" in ran.out
    assert "it was brought there" in ran.out


async def test_a_model_that_nothing_happened_to_is_explained_too(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("why", "bge-base")

    assert "no record that is kept says how" in ran.out
    assert "0 requests since the engine started" in ran.out


async def test_programs_get_the_records_themselves(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base")
    answer = json.loads((await citadel("why", "bge-base", "--json")).out)

    assert answer["explanation"]["last"]["part"] == "came"
    assert answer["explanation"]["last"]["entry"]["type"] == "switch"
    assert answer["asked_now"]["type"] == "plan"


async def test_a_model_that_is_not_in_the_catalog_is_named_with_those_that_are(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    ran = await citadel("why", "gpt-9")

    assert ran.status == 1
    assert "no model is named gpt-9; the catalog has all-MiniLM-L6-v2" in ran.err


async def test_how_its_requests_fare_comes_last_and_only_where_there_were_any(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    assert "its requests:" not in (await citadel("why", "phi-3-mini")).out
    engine.set_requests(FARING)
    assert (await citadel("why", "phi-3-mini")).out.splitlines()[-3:] == [
        "its requests: 1 in flight, 2 waiting, 7.3 tokens a second in the last minute",
        "p50 4.10 s, p95 12.4 s, first token 360 ms; of 31 answers in the last 5 minutes",
        "1 failed, 2 left since the engine started; not in the times",
    ]
    told = json.loads((await citadel("why", "phi-3-mini", "--json")).out)
    assert told["request_figures"]["p95_s"] == 12.4
    assert json.loads((await citadel("why", "bge-base", "--json")).out)["request_figures"] is None
