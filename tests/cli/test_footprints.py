"""How the bytes of a model are known, and what its runs needed, in the list of the catalog and in the status."""

from __future__ import annotations

import json

from msgspec.structs import replace

from engine.core.models import RunRange
from engine.core.sizes import MIB
from engine.core.state import State
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine


def with_runs(state: State) -> State:
    """`state` after 25 runs of e5-small, whose weights are 128 MiB."""
    known = state.models["e5-small"]
    footprint = replace(known.footprint, label="learned", runs=RunRange(25, 21, 4 * MIB, 11 * MIB))
    return replace(state, models={**state.models, "e5-small": replace(known, footprint=footprint)})


async def test_the_catalog_shows_how_a_footprint_is_known(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.set_state(with_runs(engine.state))
    lines = (await citadel("models", "list")).out.splitlines()

    (learned,) = [line for line in lines if "learned, runs 132–139 MiB" in line]
    assert learned.startswith("e5-small")
    assert sum("estimated  " in line for line in lines) == 3


async def test_programs_get_the_range_in_bytes_and_nothing_where_nothing_was_measured(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    engine.set_state(with_runs(engine.state))
    models = {model["name"]: model for model in json.loads((await citadel("status", "--json")).out)["models"]}

    assert models["e5-small"]["runs"] == {
        "count": 25,
        "near_limits": 21,
        "least_bytes": 4 * MIB,
        "most_bytes": 11 * MIB,
    }
    assert models["bge-base"]["runs"] is None
