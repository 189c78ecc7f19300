"""That the stand-in is a fair one: a client that is not ours reads the same figures from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pynvml
import pytest

from engine.core.sizes import GIB, MIB
from engine.devices.nvml import NvmlProbe
from tests.nvml.library import environment_with
from tests.nvml.script import Fault, NvmlScript, Process


def _gpustat(script: NvmlScript) -> list[dict[str, object]]:
    if find_spec("gpustat") is None:
        pytest.skip("gpustat is not installed")
    program = [sys.executable, "-m", "gpustat", "--json"]
    ran = subprocess.run(program, env=environment_with(script.path), capture_output=True, text=True, check=True)
    gpus: list[dict[str, object]] = json.loads(ran.stdout)["gpus"]
    return gpus


async def test_gpustat_reads_the_same_figures(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card().uses(700 * MIB).runs(Process(os.getpid(), 500 * MIB)).lacks("power_limit_mw")
    script.card(name="NVIDIA A30", total=24 * GIB, temperature_c=63).uses(3 * GIB)
    theirs = _gpustat(script)
    await probe.open()
    ours = await probe.sample()
    assert len(theirs) == len(ours)
    for told, facts, sample in zip(theirs, probe.facts, ours, strict=True):
        assert sample.memory is not None
        assert (told["index"], told["uuid"], told["name"]) == (facts.index, facts.uuid, facts.name)
        memory_mib = sample.memory.used_bytes // MIB, sample.memory.total_bytes // MIB
        assert (told["memory.used"], told["memory.total"]) == memory_mib
        activity = sample.activity
        assert (told["temperature.gpu"], told["utilization.gpu"]) == (
            activity.temperature_c,
            activity.utilization_percent,
        )
        assert told["enforced.power.limit"] == activity.power_limit_w
        listed = told["processes"]
        assert isinstance(listed, list)
        assert [(p["pid"], p["gpu_memory_usage"]) for p in listed] == [
            (p.pid, p.used_bytes // MIB if p.used_bytes else None) for p in activity.processes or ()
        ]


async def test_gpustat_sees_the_same_card_lost(script: NvmlScript, probe: NvmlProbe) -> None:
    script.card()
    script.card().fails(Fault.GPU_IS_LOST)
    whole, lost = _gpustat(script)
    assert whole["memory.total"] == 2048
    assert "GPU is lost" in str(lost["name"])
    library = await probe.open()
    assert "GPU is lost" in library.silent_cards[0]


def test_it_is_as_strict_about_the_version_of_a_struct_as_the_real_one(script: NvmlScript) -> None:
    script.card().uses(700 * MIB)
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    told = pynvml.nvmlDeviceGetMemoryInfo(card, version=pynvml.nvmlMemory_v2)
    assert (told.total, told.reserved, told.used) == (2 * GIB, 64 * MIB, 700 * MIB)
    with pytest.raises(pynvml.NVMLError) as refused:
        pynvml.nvmlDeviceGetMemoryInfo(card, version=pynvml.nvmlMemory_v2 + 1)
    assert refused.value.value == pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    pynvml.nvmlShutdown()
