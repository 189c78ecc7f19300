"""What a worker measures of its runs reaches the model's footprint."""

from __future__ import annotations

from pathlib import Path

from engine.core.commands import Load, Submission
from engine.core.forecast.footprints import RunPeaks
from engine.core.sizes import MIB
from engine.scheduler.messages import RunMeasured
from tests.runtime.live_engines import scripted_engine

MINILM = "all-MiniLM-L6-v2"
CARD = "NVIDIA A2"
FULL = RunMeasured("a", "gpu0", 10 * MIB, 1.0)


async def test_what_a_worker_measures_reaches_the_footprint_and_is_kept(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        box.spawner.workers["gpu0"].workspace_bytes = 3 * MIB
        await box.engine.embed(MINILM, ["a"])
        kept = await box.footprints.kept.get()
        footprint = (await box.engine.snapshot()).state.models[MINILM].footprint

        assert kept == (MINILM, "virtual GPU in host RAM", RunPeaks((3 * MIB,), (), 1))
        assert footprint.run_bytes == (footprint.weights_bytes + 3 * MIB,) * 2


async def test_what_a_device_can_not_measure_teaches_nothing(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.embed(MINILM, ["a"])

        assert (await box.engine.snapshot()).state.models[MINILM].footprint.runs is None
