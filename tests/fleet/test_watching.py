"""What those read of a fleet who watch over it: no figure twice, and a box that is away is told as such."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from engine.api import Snapshot
from engine.core.commands import Load, Submission
from engine.core.devices import Reading
from engine.core.state import Slab
from engine.gateway.door import DoorRules, Gateway, door_application
from fleet.engine import FleetEngine
from tests.fleet.fleets import Line, engine_of, fleet_of, scripted_lines, until
from tests.gateway.calls import Door

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture
def lines() -> dict[str, Line]:
    """Each with a slab of the same model in its RAM tier."""
    made = scripted_lines(2)
    for line in made.values():
        state, slab = engine_of(line).state, Slab(MINILM, 1000, "kept", 0.0)
        engine_of(line).set_state(replace(state, ram=replace(state.ram, slabs=(slab,))))
    return made


@pytest.fixture
async def fleet(lines: dict[str, Line]) -> AsyncIterator[FleetEngine]:
    async with fleet_of(lines) as made:
        yield made


@pytest.fixture
async def door(fleet: FleetEngine) -> AsyncIterator[Door]:
    async with TestClient(TestServer(door_application(Gateway(fleet), DoorRules()))) as client:
        yield Door(client)


async def figures(door: Door) -> dict[str, float]:
    """By name and labels; no two are alike."""
    async with door.client.get("/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    found = [
        (" ".join((sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items())))), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert max(Counter(name for name, _ in found).values()) == 1
    return dict(found)


def away(snapshot: Snapshot) -> bool:
    return snapshot.boxes["box2"].standing != "ready"


async def test_each_box_has_its_figures_and_its_own_part_of_the_ram_tier(door: Door) -> None:
    found = await figures(door)
    for box in ("box1", "box2"):
        assert found[f"citadel_box_ready box={box}"] == 1
        assert found[f"citadel_box_drained box={box}"] == 0
        assert found[f"citadel_box_silent_seconds box={box}"] < 60
        assert found[f"citadel_ram_tier_slab_bytes box={box} model={MINILM} stage=kept"] == 1000
        assert found[f"citadel_device_ok device={box}/gpu0"] == 1


async def test_what_a_box_had_ready_is_not_once_it_is_away(
    door: Door, fleet: FleetEngine, lines: dict[str, Line]
) -> None:
    await fleet.submit(Submission("1", Load(MINILM, "box2/gpu0")))
    assert (await figures(door))[f"citadel_model_ready device=box2/gpu0 model={MINILM}"] == 1
    assert [one["device"] for one in (await door.get("/api/ps")).body["models"]] == ["box2/gpu0"]
    lines["box2"].cut()
    await until(fleet, away)
    found = await figures(door)
    assert found[f"citadel_model_ready device=box2/gpu0 model={MINILM}"] == 0
    assert found["citadel_box_ready box=box2"] == 0
    assert found["citadel_device_ok device=box2/gpu0"] == 0
    assert (await door.get("/api/ps")).body == {"models": []}


async def test_a_fleet_is_ready_as_long_as_one_box_is_and_names_those_that_are_not(
    door: Door, fleet: FleetEngine, lines: dict[str, Line]
) -> None:
    lines["box2"].cut("the box was switched off")
    await until(fleet, away)
    assert (await door.get("/ready")).status == 200
    lines["box1"].cut("its cable was pulled")
    await until(fleet, lambda snapshot: snapshot.boxes["box1"].standing != "ready")
    refused = await door.get("/ready")
    assert refused.status == 503
    assert refused.body["reasons"] == [
        "box1 is unreachable: its cable was pulled",
        "box2 is unreachable: the box was switched off",
    ]


async def test_one_worker_that_hangs_does_not_take_the_fleet_out_of_service(
    door: Door, fleet: FleetEngine, lines: dict[str, Line]
) -> None:
    engine = engine_of(lines["box1"])
    gpu0 = replace(engine.state.devices["gpu0"], reading=Reading("not answering", "its worker hangs"))
    engine.set_state(replace(engine.state, devices={**engine.state.devices, "gpu0": gpu0}))
    await until(fleet, lambda snapshot: snapshot.state.devices["box1/gpu0"].reading.health == "not answering")
    assert (await door.get("/ready")).status == 200
