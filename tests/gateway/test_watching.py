"""Health, readiness and figures, as those read them who watch over the engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from engine.api import Snapshot
from engine.core.commands import Evict, Load, Submission
from engine.core.devices import Health, Reading
from engine.core.insight.request_figures import RequestFigures
from engine.core.names import DeviceId
from engine.core.state import State
from engine.gateway.door import DoorRules, Gateway, door_application
from engine.gateway.keys import KeyFile
from tests.gateway.calls import Door
from tests.scripted_engine import ScriptedEngine

MINILM = "all-MiniLM-L6-v2"


class SlowEngine(ScriptedEngine):
    """Whose scheduler does not answer."""

    async def snapshot(self) -> Snapshot:
        await asyncio.Event().wait()
        raise AssertionError


async def figures(door: Door) -> dict[tuple[str, str], float]:
    """By name and labels: `("citadel_device_ok", "device=gpu0")`."""
    async with door.client.get("/metrics") as response:
        text = await response.text()
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_process_lives_and_is_ready_without_a_key(scripted: ScriptedEngine, tmp_path: Path) -> None:
    rules = DoorRules(KeyFile(tmp_path / "keys.json"))
    async with TestClient(TestServer(door_application(Gateway(scripted), rules))) as client:
        door = Door(client)
        assert (await door.get("/health")).body == {"status": "ok", "reasons": []}
        assert (await door.get("/ready")).body == {"status": "ready", "reasons": []}
        assert (await door.get("/metrics")).status == 401


def all_devices(state: State, health: Health, but: DeviceId | None = None) -> State:
    devices = {
        device: known if device == but else replace(known, reading=Reading(health, "it fell off the bus"))
        for device, known in state.devices.items()
    }
    return replace(state, devices=devices)


async def test_it_is_not_ready_when_no_device_is_well_and_says_why(scripted: ScriptedEngine, door: Door) -> None:
    scripted.set_state(all_devices(scripted.state, "lost", but="gpu1"))
    assert (await door.get("/ready")).status == 200
    scripted.set_state(all_devices(scripted.state, "lost"))
    refused = await door.get("/ready")
    assert refused.status == 503
    assert "gpu0 is lost: it fell off the bus" in refused.body["reasons"]
    assert (await door.get("/health")).status == 200


async def test_a_worker_that_does_not_answer_is_enough_for_it_not_to_be_ready(
    scripted: ScriptedEngine, door: Door
) -> None:
    gpu0 = scripted.state.devices["gpu0"]
    hangs = replace(gpu0, reading=Reading("not answering", "its worker has not answered for 3 s"))
    scripted.set_state(replace(scripted.state, devices={**scripted.state.devices, "gpu0": hangs}))
    refused = await door.get("/ready")
    assert refused.status == 503
    assert refused.body["reasons"] == ["gpu0 is not answering: its worker has not answered for 3 s"]


async def test_an_engine_that_has_ended_is_not_ready(scripted: ScriptedEngine, door: Door) -> None:
    await scripted.stop()
    refused = await door.get("/ready")
    assert (refused.status, refused.body["reasons"]) == (503, ["the engine was stopped"])


async def test_a_scheduler_that_does_not_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.gateway.watching.ANSWERS_WITHIN_S", 0.0)
    async with TestClient(TestServer(door_application(Gateway(SlowEngine()), DoorRules()))) as client:
        refused = await Door(client).get("/ready")
        assert refused.status == 503
        assert (await Door(client).get("/health")).status == 200


async def test_figures_are_those_of_the_newest_state_and_of_all_that_happened(scripted: ScriptedEngine) -> None:
    gateway = Gateway(scripted)
    async with gateway.counting(), TestClient(TestServer(door_application(gateway, DoorRules()))) as client:
        door = Door(client)
        before = await figures(door)
        assert before["citadel_device_ok", "device=gpu0"] == 1
        assert before["citadel_device_memory_bytes", "device=gpu0,kind=models"] == 0
        await scripted.submit(Submission("1", Load(MINILM, "gpu0")))
        ready = await figures(door)
        charged = scripted.state.models[MINILM].footprint.total_bytes
        assert ready["citadel_device_memory_bytes", "device=gpu0,kind=models"] == charged
        assert ready["citadel_model_ready", f"device=gpu0,model={MINILM}"] == 1
        await scripted.submit(Submission("2", Evict(MINILM)))
        after = await figures(door)
        while after.get(("citadel_switch_seconds_count", "outcome=done")) != 2:  # counted a moment after it happened
            after = await figures(door)
        assert after["citadel_evictions_total", f"device=gpu0,model={MINILM},victim=false"] == 1
        [loads] = [
            value for (name, labels), value in after.items() if name == "citadel_loads_total" and MINILM in labels
        ]
        assert loads == 1
        assert ("citadel_model_ready", f"device=gpu0,model={MINILM}") not in after


async def test_requests_are_counted_by_how_they_ended(scripted: ScriptedEngine, door: Door) -> None:
    scripted.set_requests(
        {MINILM: RequestFigures(waiting=3, in_flight=2, p50_s=0.25, refused=4, left=5, ever_answered=60, ever_done=640)}
    )
    found = await figures(door)
    assert found["citadel_requests_total", f"model={MINILM},outcome=answered"] == 60
    assert found["citadel_requests_total", f"model={MINILM},outcome=refused"] == 4
    assert found["citadel_requests_total", f"model={MINILM},outcome=left"] == 5
    assert found["citadel_work_total", f"model={MINILM}"] == 640
    assert found["citadel_requests_now", f"model={MINILM},stage=waiting"] == 3
    assert found["citadel_requests_now", f"model={MINILM},stage=running"] == 2
    assert found["citadel_request_seconds", f"model={MINILM},of=p50"] == 0.25
    assert ("citadel_request_seconds", f"model={MINILM},of=p95") not in found
