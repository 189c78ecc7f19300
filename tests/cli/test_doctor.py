"""`citadel doctor` and `citadel gpus`: on this machine, and on scripted ones in a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from citadel_tui.cli.gpus import gpus_text
from engine.core.sizes import GIB, MIB
from engine.devices.cards import GpuFacts
from engine.devices.inventory import NO_CARDS, met, write_inventory
from engine.doctor.gpus import CardRates, GpusReport, VirtualReport, card_report
from engine.doctor.machine import PcieLink
from engine.paths import find_paths, make_folders
from engine.recording.copy_rates import CopyRates
from tests.cli.conftest import Citadel, Ran
from tests.doctor.machines import GT_1030, NEW_ARCHITECTURES, PASCAL_ARCHITECTURES
from tests.doctor.stand_ins import StandIns, stand_ins
from tests.nvml.script import Fault, ScriptedCard

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
    text = gpus_text(
        GpusReport(1, "driver 580", False, (card,), 2, (VirtualReport("gpu1", "cuda:0", GIB),), "", (), "")
    )
    assert "to it       3.2 GB/s page-locked, 1.6 GB/s pageable" in text
    assert "from it     3.3 GB/s page-locked, 1.5 GB/s pageable" in text
    assert "generation ? ×4 now, generation 3 ×4 at most" in text
    assert "hidden by CUDA_VISIBLE_DEVICES: 2 more" in text
    assert text.endswith("gpu1  virtual GPU: 1.0 GiB of cuda:0")


@pytest.mark.parametrize("command", ["doctor", "gpus"])
async def test_neither_command_imports_torch_itself(stand_ins: StandIns, command: str) -> None:
    ask = "import sys; from citadel_tui.cli import main; main([sys.argv[1]]); print('torch' in sys.modules)"
    program = [sys.executable, "-c", ask, command]
    ran = await asyncio.to_thread(
        subprocess.run, program, env=stand_ins.environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "False"


# ── cards that were there ────────────────────────────────────────────────────────────────────────


class Box(NamedTuple):
    """A machine on which an engine has run once with three cards, and the environment of programs there."""

    cards: list[ScriptedCard]
    environment: dict[str, str]
    kept: Path


@pytest.fixture
async def three_cards(stand_ins: StandIns, tmp_path: Path) -> Box:
    cards = [stand_ins.nvml.card(uuid=f"GPU-{letter}") for letter in "abc"]
    environment = {**stand_ins.environment, "CITADEL_HOME": str(tmp_path / "home")}
    paths = find_paths(environment)
    make_folders(paths)
    found = []
    for n, card in enumerate(cards):
        facts = GpuFacts(n, card.uuid, "NVIDIA GeForce GT 1030", 2 * GIB, 0, (6, 1), None, 1, 3, 4, 4)
        found.append(replace(facts, bus_id=f"00000000:{n + 1:02X}:00.0"))
    write_inventory(paths.cards, met(NO_CARDS, found, time.time() - 7_200))
    return Box(cards, environment, paths.cards)


async def test_gpus_says_which_card_is_lost_and_since_when_and_fails(stand_ins: StandIns, three_cards: Box) -> None:
    three_cards.cards[1].fails(Fault.GPU_IS_LOST)
    ran = await run(three_cards.environment, "gpus")
    assert ran.status == 1
    lines = [line.strip() for line in ran.out.splitlines()]
    assert [line.split()[0] for line in lines if line.endswith("GT 1030")] == ["gpu0", "gpu1", "gpu2"]
    (health,) = [line for line in lines if line.startswith("health") and "lost" in line]
    assert "lost since " in health
    assert health.endswith(": the driver does not list it")
    assert "uuid        GPU-b" in lines
    assert "PCI bus     00000000:02:00.0" in lines
    assert [line for line in lines if line.startswith("PCIe")][
        1
    ] == "PCIe        generation 3 ×4 at most"  # nobody knows of now
    as_json = json.loads((await run(three_cards.environment, "gpus", "--json")).out)
    found = {card["device"]: (card["uuid"], card["health"]) for card in as_json["cards"]}
    assert found == {"gpu0": ("GPU-a", "ok"), "gpu1": ("GPU-b", "lost"), "gpu2": ("GPU-c", "ok")}
    three_cards.cards[1].works_again()
    assert (await run(three_cards.environment, "gpus")).status == 0


async def test_where_the_driver_is_broken_gpus_says_so_of_every_card_that_was_here(
    stand_ins: StandIns, three_cards: Box
) -> None:
    stand_ins.nvml.fails(Fault.VERSION_MISMATCH, "init")
    ran = await run(three_cards.environment, "gpus")
    assert ran.status == 1
    assert ran.out.count(": the NVIDIA library and the loaded driver are of different versions") == 3
    assert "no NVIDIA card is here" not in ran.out


async def test_the_doctor_names_a_lost_card_as_it_was_named(three_cards: Box) -> None:
    three_cards.cards[0].fails(Fault.GPU_IS_LOST)
    ran = await run(three_cards.environment, "doctor")
    assert ran.status == 1
    assert "NVIDIA GeForce GT 1030 (GPU-a) is lost: the driver does not list it" in ran.out
    assert "`citadel gpus --forget gpu0`" in ran.out
    assert "NVIDIA GeForce GT 1030 (GPU-b) answers" in ran.out


async def test_hiding_cards_does_not_rename_them(three_cards: Box) -> None:
    three_cards.cards[0].fails(Fault.GPU_IS_LOST)
    ran = await run({**three_cards.environment, "CUDA_VISIBLE_DEVICES": "2"}, "gpus")
    assert ran.status == 0
    assert ran.out.startswith("gpu2  NVIDIA GeForce GT 1030")
    assert "GPU-c" in ran.out
    assert "hidden by CUDA_VISIBLE_DEVICES: 2 more" in ran.out


async def test_beside_a_mig_device_nothing_is_said_to_be_hidden_by_the_environment(stand_ins: StandIns) -> None:
    stand_ins.nvml.card(uuid="GPU-a")
    stand_ins.nvml.card(uuid="GPU-b").is_split_into("MIG-a", "MIG-b")
    ran = await run(stand_ins.environment, "gpus")
    assert ran.status == 0
    assert "uuid        MIG-a" in [line.strip() for line in ran.out.splitlines()]
    assert "CUDA shows one MIG device alone: 2 more" in ran.out
    assert "hidden" not in ran.out


async def test_a_card_that_was_taken_out_can_be_forgotten(stand_ins: StandIns, three_cards: Box) -> None:
    stand_ins.nvml.pull_out(three_cards.cards[1])
    assert (await run(three_cards.environment, "gpus")).status == 1
    ran = await run(three_cards.environment, "gpus", "--forget", "gpu1")
    assert ran.status == 0
    assert ran.out.startswith("gpu1 is forgotten: NVIDIA GeForce GT 1030 (GPU-b)\n")
    after = await run(three_cards.environment, "gpus")
    assert after.status == 0
    assert [line.split()[0] for line in after.out.splitlines() if line.startswith("gpu")][:2] == ["gpu0", "gpu2"]


async def test_a_card_that_is_here_gets_a_name_anew_when_it_is_forgotten(three_cards: Box) -> None:
    ran = await run(three_cards.environment, "gpus", "--forget", "GPU-c")
    assert "gpu2 is forgotten" in ran.out
    assert "it is here, and gets a name again when an engine starts" in ran.out


async def test_forgetting_what_nobody_knows_changes_nothing(three_cards: Box) -> None:
    before = three_cards.kept.read_bytes()
    ran = await run(three_cards.environment, "gpus", "--forget", "gpu1", "gpu7")
    assert ran.status == 1
    assert "no card is known as gpu7; those known are gpu0, gpu1, gpu2; nothing was forgotten" in ran.err
    assert three_cards.kept.read_bytes() == before


async def test_a_card_that_never_told_who_it_is_has_no_name_and_is_not_passed_over(stand_ins: StandIns) -> None:
    stand_ins.nvml.card()
    stand_ins.nvml.card().fails(Fault.GPU_IS_LOST)
    ran = await run(stand_ins.environment, "gpus")
    assert ran.status == 1
    assert "GPU 1 did not answer when it was looked for" in ran.out
    assert "it was never seen before and has no name" in ran.out
