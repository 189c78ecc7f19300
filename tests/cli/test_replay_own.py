"""`citadel replay --own`: the engine's recorded demand, with the sizes and the box of the engine that runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.paths import find_paths
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine

DEMAND = "t_s,model,work\n0.0,phi-3-mini,32\n2.0,bge-base,1\n5.5,phi-3-mini,32\n"


@pytest.fixture
def recorded() -> None:
    record(DEMAND)


def record(demand: str) -> None:
    folder = find_paths(os.environ).demand
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demand.csv").write_text(demand)


async def test_the_engine_tells_sizes_and_box(citadel: Citadel, engine: ScriptedEngine, recorded: None) -> None:
    ran = await citadel("replay", "--own", "--timed", "--json", "--work-per-s", "50")

    compared = json.loads(ran.out)
    assert ran.status == 0
    assert compared["sizes"]["phi-3-mini"] == 480 << 20
    assert compared["box"]["gpus_bytes"] == [512 << 20, 512 << 20]
    assert compared["policies"]["lru"]["requests"] == 3


async def test_the_sizes_can_be_given_where_no_engine_runs(citadel: Citadel, recorded: None, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.csv"
    sizes.write_text("phi-3-mini,4GB\nbge-base,1GB\n")

    ran = await citadel("replay", "--own", "--sizes", str(sizes))

    assert ran.status == 0
    assert "3 requests for 2 models of 5.0 GB" in ran.out


async def test_without_engine_and_sizes_both_remedies_are_named(citadel: Citadel, recorded: None) -> None:
    ran = await citadel("replay", "--own")

    assert ran.status == 2
    assert "--sizes FILE" in ran.err


async def test_a_model_that_has_left_the_catalog_is_named(
    citadel: Citadel, engine: ScriptedEngine, recorded: None
) -> None:
    record(f"{DEMAND}6.0,retired,1\n")

    ran = await citadel("replay", "--own")

    assert ran.status == 1
    assert "retired" in ran.err
    assert "--sizes" in ran.err


async def test_where_nothing_is_recorded_it_says_so(citadel: Citadel) -> None:
    ran = await citadel("replay", "--own")

    assert ran.status == 1
    assert "no recorded demand" in ran.err


async def test_the_tiers_limit_of_models_is_the_engines_too(
    citadel: Citadel, engine: ScriptedEngine, recorded: None
) -> None:
    ran = await citadel("replay", "--own")

    assert "RAM tier 1.07 GB for 2 models (exclusive)" in ran.out


async def test_too_little_demand_to_rank_policies_by_is_said(
    citadel: Citadel, engine: ScriptedEngine, recorded: None
) -> None:
    all_policies, one = await citadel("replay", "--own"), await citadel("replay", "--own", "--policy", "lru")

    assert "3 requests, when repeats count once: too few to judge by" in all_policies.err
    assert one.err == ""
