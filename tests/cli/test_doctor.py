"""`citadel doctor` and `citadel gpus`: on this machine, and on scripted ones in a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from citadel_tui.cli.gpus import gpus_text
from engine.core.sizes import GIB, MIB
from engine.doctor.gpus import CardRates, GpusReport, VirtualReport, card_report
from engine.doctor.machine import PcieLink
from engine.recording.copy_rates import CopyRates
from tests.cli.conftest import Citadel, Ran
from tests.doctor.machines import GT_1030, NEW_ARCHITECTURES, PASCAL_ARCHITECTURES
from tests.doctor.stand_ins import StandIns, stand_ins
from tests.nvml.script import Fault

__all__ = ["stand_ins"]

ALLOCATION = "devices:\n  virtual:\n    - {memory: 512MiB, backing: ram}\n"


@pytest.fixture(autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a sound configuration."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "config").mkdir()
    (folder / "config/gpu_allocation.yaml").write_text(ALLOCATION)
    (folder / "config/model_gpu_mapping.json").write_text('{"models": []}')
    monkeypatch.chdir(folder)
    return folder


async def run(environment: Mapping[str, str], *arguments: str) -> Ran:
    command = [sys.executable, "-m", "citadel_tui", *arguments]
    ran = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    return Ran(ran.returncode, ran.stdout, ran.stderr)


async def findings(stand_ins: StandIns) -> tuple[int, dict[str, Any]]:
    """Exit status and findings by id."""
    ran = await run(stand_ins.environment, "doctor", "--json")
    assert ran.err == ""
    return ran.status, {each["id"]: each for each in json.loads(ran.out)["findings"]}


async def test_a_card_with_driver_and_torch_in_order_is_a_success(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    stand_ins.bring_torch("2.7.1", "12.6", PASCAL_ARCHITECTURES)
    stand_ins.bring_libcuda()
    ran = await run(stand_ins.environment, "doctor")
    assert ran.status == 0, ran.out
    assert ran.out.splitlines()[-1] == "A model could run on gpu0 (NVIDIA GeForce GT 1030)."


async def test_an_old_card_under_a_new_torch_fails_with_the_install_line(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    stand_ins.bring_torch("2.13.0", "13.0", NEW_ARCHITECTURES)
    stand_ins.bring_libcuda()
    status, found = await findings(stand_ins)
    assert status == 1
    assert '"torch==2.7.1"' in found["gpu0.architecture"]["fix"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.DRIVER_NOT_LOADED, "kernel module is not loaded"),
        (Fault.VERSION_MISMATCH, "of different versions"),
        (Fault.NO_PERMISSION, "denies this user access"),
        (Fault.UNKNOWN, "could not be used"),
    ],
)
async def test_each_fault_of_the_driver_is_told(stand_ins: StandIns, fault: Fault, words: str) -> None:
    stand_ins.nvml.card()
    stand_ins.nvml.fails(fault, "init")
    stand_ins.bring_torch("2.7.1", "12.6", PASCAL_ARCHITECTURES)
    status, found = await findings(stand_ins)
    assert status == 1
    assert words in found["driver"]["found"]


async def test_no_card_a_lost_card_and_a_forbidden_one_are_told_apart(stand_ins: StandIns) -> None:
    stand_ins.bring_torch("2.7.1", "12.6", PASCAL_ARCHITECTURES)
    stand_ins.bring_libcuda()
    _status, found = await findings(stand_ins)
    assert "sees no card" in found["driver"]["found"]
    lost = stand_ins.nvml.card().fails(Fault.GPU_IS_LOST)
    status, found = await findings(stand_ins)
    assert (status, found["driver"]["status"]) == (1, "problem")
    assert "GPU 0 did not answer when it was looked for: GPU is lost" in found["driver"]["found"]
    lost.works_again().fails(Fault.NO_PERMISSION, "memory_v2")
    _status, found = await findings(stand_ins)
    assert "this user may not read the memory of" in found["gpu0.health"]["found"]


async def test_one_lost_card_of_two_is_a_warning(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    stand_ins.nvml.card().fails(Fault.GPU_IS_LOST)
    stand_ins.bring_torch("2.7.1", "12.6", PASCAL_ARCHITECTURES)
    stand_ins.bring_libcuda()
    status, found = await findings(stand_ins)
    assert (status, found["driver"]["status"]) == (0, "warning")
    assert "GPU 1 did not answer" in found["driver"]["means"]


async def test_hidden_cards_and_a_missing_libcuda_are_told(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    stand_ins.bring_torch("2.7.1", "12.6", PASCAL_ARCHITECTURES)
    status, found = await findings(stand_ins)
    assert (status, "libcuda.so.1 can't be loaded" in found["cuda"]["found"]) == (1, True)
    hidden = await run({**stand_ins.environment, "CUDA_VISIBLE_DEVICES": ""}, "doctor")
    assert "visible: CUDA_VISIBLE_DEVICES= hides all cards" in hidden.out


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has an NVIDIA driver")
async def test_on_a_machine_without_a_driver_the_doctor_says_so(citadel: Citadel) -> None:
    ran = await citadel("doctor")
    assert ran.status == 0, ran.out
    assert "-         driver: no NVIDIA driver is present" in ran.out
    assert "PROBLEM" not in ran.out
    assert ran.out.splitlines()[-1] == "No NVIDIA card is here: models run on the virtual GPUs gpu0 and on the CPU."
    gpus = await citadel("gpus")
    assert (gpus.status, gpus.out.splitlines()[0]) == (
        0,
        "no NVIDIA card is here; models run on virtual GPUs and the CPU",
    )


async def test_a_broken_configuration_is_a_finding_and_no_crash(citadel: Citadel, project: Path) -> None:
    (project / "config/gpu_allocation.yaml").write_text("memory_fraction: 1.4\n")
    ran = await citadel("doctor")
    assert ran.status == 1
    assert "1.4 is given" in ran.out


async def test_gpus_lists_cards_with_what_they_can_do_and_virtual_ones_as_such(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    ran = await run(stand_ins.environment, "gpus")
    assert (ran.status, ran.err) == (0, "")
    lines = [line.strip() for line in ran.out.splitlines()]
    assert lines[0] == "gpu0  NVIDIA GeForce GT 1030"
    assert "capability  6.1" in lines
    assert "fast in     float32, int8" in lines
    assert "PCIe        generation 1 ×4 now, generation 3 ×4 at most" in lines
    assert "copying     not measured; `citadel gpus --measure` measures it" in lines
    assert lines[-1] == "gpu0  virtual GPU: 512 MiB of host RAM"


async def test_gpus_without_cards_says_so_and_fails(stand_ins: StandIns) -> None:
    ran = await run(stand_ins.environment, "gpus")
    assert ran.status == 1
    assert ran.out.startswith("no NVIDIA card can be used: the NVIDIA driver is loaded and finds no card;")
    as_json = json.loads((await run(stand_ins.environment, "gpus", "--json")).out)
    assert (as_json["version"], as_json["cards"]) == (1, [])
    assert as_json["virtual"] == [{"device": "gpu0", "backing": "ram", "total_bytes": 512 * MIB}]


async def test_measuring_needs_a_torch_with_cuda_and_says_so(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    ran = await run(stand_ins.environment, "gpus", "--measure")
    assert ran.status == 0
    assert "not measured: torch does not see this card" in ran.out


def test_measured_rates_are_shown_both_ways() -> None:
    rates = CardRates(CopyRates(256 * MIB, 3.25e9, 1.61e9, 3.3e9, 1.5e9), 1000.0, "")
    card = card_report(replace(GT_1030, pcie=PcieLink(None, 3, 4, 4)), rates)
    text = gpus_text(GpusReport(1, "driver 580", False, (card,), 2, (VirtualReport("gpu1", "cuda:0", GIB),), ""))
    assert "to it       3.2 GB/s page-locked, 1.6 GB/s pageable" in text
    assert "from it     3.3 GB/s page-locked, 1.5 GB/s pageable" in text
    assert "generation ? ×4 now, generation 3 ×4 at most" in text
    assert "hidden by the environment: 2 more" in text
    assert text.endswith("gpu1  virtual GPU: 1.0 GiB of cuda:0")


@pytest.mark.parametrize("command", ["doctor", "gpus"])
async def test_neither_command_imports_torch_itself(stand_ins: StandIns, command: str) -> None:
    ask = "import sys; from citadel_tui.cli import main; main([sys.argv[1]]); print('torch' in sys.modules)"
    program = [sys.executable, "-c", ask, command]
    ran = await asyncio.to_thread(
        subprocess.run, program, env=stand_ins.environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "False"
